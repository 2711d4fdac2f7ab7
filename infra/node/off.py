"""How a machine ends itself."""

from __future__ import annotations  # for Python 3.9

import subprocess

from infra.node import facts as here
from infra.node.cloud import connect
from infra.node.facts import Facts


def power_off(facts: Facts, why: str) -> None:
    """End this machine: `shutdown`, which terminates it on AWS; on GCP first by the API, for a disk outlives a halt."""
    print(f"fifty: {why}; powering off", flush=True)
    here.write("ended", why + "\n")
    try:
        connect(facts).end_self()
    except (OSError, ValueError, KeyError) as error:
        print(f"fifty: the cloud does not end this machine, so it halts: {error}", flush=True)
    subprocess.run(["shutdown", "-h", "now"], check=False)
