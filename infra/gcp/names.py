"""What our things are called in Google Cloud, and how they bear our tags.

Machines and disks bear them as labels. Networks, firewall rules and service accounts have none; theirs are written into
the description. Names are a run's own, so that what an earlier run left is never taken for this one's.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from infra.cluster import CLUSTER, DEADLINE, OWNER, PROJECT, RUN, Run
from infra.faults import Refused

LABEL = re.compile(r"[a-z0-9_-]{0,63}")
BUCKET = re.compile(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]")
RAY_ACCOUNT = "ray-autoscaler-sa-v1"  # what Ray's launcher makes, whether it is needed or not


def region(zone: str) -> str:
    """The region that a zone is in."""
    return zone.rsplit("-", 1)[0]


def base(run: Run) -> str:
    """The name of a run's network and subnetwork and of the tag of its machines; how its firewall rules begin."""
    return f"fifty-{run.cluster}-{_hash(run)[:8]}"


def account(run: Run, part: str) -> str:
    """The id of a service account, at most 30 letters; `part` is `h` for the head and `w` for workers."""
    return f"fifty-{run.cluster}-{_hash(run)[:5]}-{part}"


def email(account_id: str, project_id: str) -> str:
    """The name by which a service account is known; a project of a domain has that domain last."""
    domain, _, name = project_id.rpartition(":")
    return f"{account_id}@{name}{'.' + domain if domain else ''}.iam.gserviceaccount.com"


def _hash(run: Run) -> str:
    return hashlib.sha256(f"{run.project}/{run.id}".encode()).hexdigest()


def label(text: str) -> str:
    """Turn a person's name into a label's value."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]


def described(tags: Mapping[str, str]) -> str:
    """Tags as a description."""
    return " ".join(f"{key}={value}" for key, value in tags.items())


def tags_in(description: str | None) -> dict[str, str]:
    """The other way round; empty if somebody else described it."""
    words = [word.partition("=") for word in (description or "").split()]
    return {key: value for key, _, value in words if key.startswith("fifty-")}


def moment(seconds: str | None) -> datetime | None:
    """A deadline as a label has it, seconds since 1970; None if it is none."""
    try:
        return datetime.fromtimestamp(int(seconds or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def bucket(configured: str, project: str, project_id: str) -> str:
    """The bucket that keeps the ledger; Google's project makes the name unique in the world."""
    name = f"fifty-{project}-{re.sub(r'[^a-z0-9-]', '-', project_id)}" if configured == "auto" else configured
    if not BUCKET.fullmatch(name) or name.startswith("goog"):
        raise Refused(
            f"cloud.gcp.bucket: Google takes no bucket `{name}`: 3 to 63 lower-case letters, digits, - and _, no `goog`"
        )
    return name


def check_names(run: Run) -> None:
    """See that Google takes every label.

    Raises:
        Refused: it would not; says which.
    """
    where = {PROJECT: "cloud.project", CLUSTER: "cloud.cluster", RUN: "run", DEADLINE: "deadline", OWNER: "owner"}
    for key, value in run.tags().items():
        if not LABEL.fullmatch(value):
            raise Refused(
                f"{where[key]}: `{value}` will not do as a label: lower-case letters, digits, - and _, at most 63"
            )
