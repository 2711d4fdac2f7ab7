"""Temporary."""

from pipelines.datasets.forecast import EEG

__all__ = ["EEG"]
