"""Clouds, machines and people that are pretended, to run the real budget, ledger and rules through many histories."""
