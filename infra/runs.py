"""The name of a run says which cluster it is and where, so that the ledger alone tells where to look for it. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

FORM = re.compile(r"(?P<cluster>.+)-(?P<cloud>aws|gcp|fake)-(?P<region>.+)-\d{10}-[0-9a-f]{4}")


@dataclass(frozen=True)
class Place:
    """Where a run's machines are."""

    cluster: str
    cloud: str
    region: str


def new_id(place: Place, now: datetime, chance: str) -> str:
    """Name a run, as `main-aws-us-east-1-2611261655-1a2b`: with the minute in UTC and four hexadecimal digits.

    With the longest cluster and the longest region these are 62 characters; a tag's value may have 63.
    """
    return f"{place.cluster}-{place.cloud}-{place.region}-{now.astimezone(UTC):%y%m%d%H%M}-{chance}"


def place_of(run_id: str) -> Place | None:
    """Where a run is, by its name; None for a name that `new_id` has not made."""
    match = FORM.fullmatch(run_id)
    return Place(match["cluster"], match["cloud"], match["region"]) if match else None
