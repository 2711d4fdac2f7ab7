"""Writes anew what in infra/gcp.yaml is not a person's: two startup-scripts, and what it shares with infra/aws.yaml.

    python -m tests.infra.gcp.refresh

Run it when infra/userdata.py, what it packs, or infra/aws.yaml has changed; test_yaml.py says when that is so.
"""

import re
from pathlib import Path
from typing import Literal

from infra import userdata
from tests.infra.gcp.made import ZONE

FOLDER = Path(userdata.__file__).parent
SCRIPT = re.compile(r"( {10}- key: startup-script\n {12}value: \|\n)(?: {14}.*\n|\n(?= {14}))+")
SHARED = "# What is sent to each machine."
PINNED = re.compile(
    r"  # Workers get the very image that the head got\.\n(?:  .*\n)+?(?=  - ~/fifty/\.venv/bin/ray stop\n)"
)


def script(role: Literal["head", "worker"]) -> str:
    """What a machine of the role runs first, as it stands in the file."""
    printed = userdata.by_hand(role, "gcp").replace('"region": ""', f'"region": "{ZONE}"')
    return "".join(f"{' ' * 14}{line}\n" if line else "\n" for line in printed.rstrip("\n").split("\n"))


def refreshed(gcp: str, aws: str) -> str:
    """The file as it should be."""
    own = gcp[: gcp.index(SHARED)]
    scripts = iter((script("head"), script("worker")))
    own, count = SCRIPT.subn(lambda match: match[1] + next(scripts), own)
    if count != 2:
        raise ValueError(f"infra/gcp.yaml has {count} startup-scripts")
    return own + PINNED.sub("", aws[aws.index(SHARED) :])


if __name__ == "__main__":
    path = FOLDER / "gcp.yaml"
    path.write_text(refreshed(path.read_text(), (FOLDER / "aws.yaml").read_text()))
