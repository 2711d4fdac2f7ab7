"""Stands in for `ray up` where the cloud is the fake: reads the rendered config and rents the head from it."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.cluster import PRICE, ROLE, RUN, Run
from infra.fake import Fake
from infra.faults import Refused
from infra.launcher import Say


def render(run: Run, made: Mapping[str, str], key: Path) -> dict[str, Any]:
    """Just what `FakeUp` reads."""
    nodes = {
        role: {
            "machine": offer.machine.name,
            "tags": {**run.tags(), ROLE: role, PRICE: str(round(offer.on_demand * 1e6))},
        }
        for role, offer in (("head", run.shape.head), ("worker", run.shape.worker))
    }
    return {
        "cluster_name": run.cluster,
        "provider": {"type": "fake", "group": made["group"]},
        "auth": {"ssh_user": "nobody", "ssh_private_key": str(key)},
        "nodes": nodes,
    }


class FakeUp:
    """Launches in the fake cloud.

    Args:
        fake: the cloud.
        workers: how many workers the head's autoscaler launches at once.
    """

    def __init__(self, fake: Fake, workers: int = 0) -> None:
        self._fake, self._workers = fake, workers

    def check(self) -> None:
        """It needs nothing."""

    def accept(self, config: Mapping[str, Any], run: Run) -> None:
        """See that every machine would bear the run's tags."""
        for role, node in config["nodes"].items():
            if missing := run.tags().keys() - node["tags"].keys():
                raise Refused(f"the config's {role} lacks {', '.join(sorted(missing))}")

    def __call__(self, config: Path, log: Path, say: Say) -> None:
        """Rent the head unless it is there, and workers."""
        wanted = json.loads(config.read_text())
        head, worker, cluster = wanted["nodes"]["head"], wanted["nodes"]["worker"], wanted["cluster_name"]
        alive = [node for node in self._fake.inventory().nodes if node.run == head["tags"][RUN] and node.costs]
        if not any(node.role == "head" for node in alive):
            say(f"  head {self._fake.rent(head['tags'], head['machine'], cluster)}")
        for _ in range(self._workers):
            self._fake.rent(worker["tags"], worker["machine"], cluster)
        if self._fake.state.look().trouble.hang:
            say("  waiting for ever")
            threading.Event().wait()
        log.write_text("launched in the fake cloud\n")
