"""What a node knows about itself, and where it keeps what it remembers.

Like everything in this folder it runs by `/usr/bin/python3` (3.9 or later) with nothing installed.
"""

from __future__ import annotations  # for Python 3.9

import json
import os
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

# A test has these elsewhere.
HOME = Path(os.environ.get("FIFTY_HOME", "/opt/fifty"))
STATE = Path(os.environ.get("FIFTY_STATE", "/var/lib/fifty"))
UNTOLD = timedelta(minutes=30)  # so long a machine launched by hand lives until its set-up says more
TOLD = "told.json"


@dataclass(frozen=True)
class Facts:
    """The contents of node.json, which UserData wrote; `infra.userdata.NodeFacts` says what each is."""

    cloud: str
    region: str
    project: str
    cluster: str
    run: str
    role: str
    deadline: int | None
    relative_seconds: int | None
    idle_minutes: float
    ssh_from: str = ""
    pace: float = 1.0

    @property
    def own(self) -> datetime:
        """The deadline this node was born with; launched by hand, a whole life counts from the head's first boot."""
        if self.deadline is not None:
            return moment(self.deadline)
        life = timedelta(seconds=self.relative_seconds or 0)
        launched = (read("marks/launched") or "").strip()
        if launched.isdigit() and int(launched) <= booted().timestamp():
            return moment(int(launched)) + life
        return booted() + UNTOLD


def load() -> Facts:
    """Read node.json."""
    facts = Facts(**json.loads((HOME / "node.json").read_text()))
    # A test has no minutes to wait. Only ever shorter: nothing in the environment lets a machine live longer.
    return Facts(**{**vars(facts), "pace": min(facts.pace, float(os.environ.get("FIFTY_PACE", "1")))})


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as an aware moment."""
    return datetime.fromtimestamp(seconds, timezone.utc)  # noqa: UP017 (Python 3.9)


def booted() -> datetime:
    """When the node first came up."""
    return moment(int((STATE / "booted").read_text()))


def marked(name: str) -> datetime | None:
    """When the set-up touched a mark, such as `ready`; None if it has not."""
    try:
        return moment((STATE / "marks" / name).stat().st_mtime)
    except OSError:
        return None


def read(name: str) -> str | None:
    """Read what is remembered under a name; None if nothing is."""
    try:
        return (STATE / name).read_text()
    except (OSError, ValueError):
        return None


def write(name: str, text: str) -> None:
    """Remember it, whole or not at all; a full disk must not keep a node from ending itself."""
    part = STATE / f".{name}.new"
    try:
        part.write_text(text)
        part.replace(STATE / name)
    except OSError as error:
        print(f"fifty: cannot remember {name}: {error}")


def told() -> tuple[datetime | None, datetime | None]:
    """What the state outside last told: the deadline, and when it was read, by `clock`."""
    until, at, slow = _told()
    return until, at and at + timedelta(seconds=slow)


def clock() -> datetime:
    """The time by this machine's clock, or by the cloud's where ours is slow: a wrong clock must not buy time."""
    now = moment(time.time())
    _, at, slow = _told()
    recent = at is not None and abs(now - at) < timedelta(hours=1)
    return now + timedelta(seconds=slow) if recent else now


def _told() -> tuple[datetime | None, datetime | None, float]:
    """The deadline, when it was read by our clock, and by how many seconds that is slow, if it is worth a word."""
    try:
        record = json.loads(read(TOLD) or "")
        slow = float(record["slow"])
        return moment(record["deadline"]), moment(record["at"]), slow if slow > 5 else 0.0
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None, None, 0.0
