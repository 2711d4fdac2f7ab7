"""Brings raw bytes here: downloads, S3 and GCS, checksums."""
