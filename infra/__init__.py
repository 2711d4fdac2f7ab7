"""Launches cloud machines under a hard dollar cap, and sees that none is left on."""
