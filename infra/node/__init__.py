"""What every machine runs to end itself: copied onto it by `infra.userdata`, with nothing else of the project."""

from __future__ import annotations  # for Python 3.9
