"""Reads files that people bring, and writes prepared data, form by form."""
