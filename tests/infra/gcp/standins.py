"""What stands in for the machines' insides, of which the double has none: `ssh` and `rsync` that succeed at anything.

Ray's launcher does all the rest by itself: it creates machines, labels them and waits for them.
"""

import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.cluster import Run
from infra.faults import CloudFault
from infra.gcp.clients import Clients
from infra.launcher import Say
from tests.infra.gcp.double import PROJECT

Json = dict[str, Any]


def silent_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put them before the real ones; what they were called with is kept in the file that is returned."""
    folder.mkdir()
    log = folder / "calls"
    for name in ("ssh", "rsync", "scp"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{log}\nexit 0\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return log


class Up:
    """In place of `ray up`, and much faster: asks for the head as Ray does, and for workers as its autoscaler would.

    That Ray asks so is what test_ray.py is about.

    Args:
        workers: so many of the first kind are launched at once.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers

    def check(self) -> None:
        """It needs nothing."""

    def accept(self, config: Mapping[str, Any], run: Run) -> None:
        """As `fifty up` has it."""
        from infra import guard

        guard.check(config, run)

    def __call__(self, config: Path, log: Path, say: Say) -> None:
        """Launch what is not there."""
        wanted = json.loads(config.read_text())
        clients = Clients(PROJECT)
        log.write_text("launched by the stand-in\n")
        if not _running(clients, wanted, "head"):
            launch(clients, wanted, wanted["head_node_type"])
        kind = next(name for name in wanted["available_node_types"] if name != wanted["head_node_type"])
        for _ in range(self.workers):
            launch(clients, wanted, kind)


def launch(clients: Clients, config: Json, kind: str) -> str:
    """Ask for one machine as Ray's provider does; returns its name."""
    place = config["provider"]
    zone, cluster = place["availability_zone"], config["cluster_name"]
    role = "head" if kind == config["head_node_type"] else "worker"
    body = dict(config["available_node_types"][kind]["node_config"])
    body["name"] = f"ray-{cluster}-{role}-{uuid.uuid4().hex[:8]}-compute"
    body["machineType"] = f"zones/{zone}/machineTypes/{body['machineType']}"
    if "guestAccelerators" in body:
        path = f"projects/{place['project_id']}/zones/{zone}/acceleratorTypes"
        body["guestAccelerators"] = [
            {**gpu, "acceleratorType": f"{path}/{gpu['acceleratorType']}"} for gpu in body["guestAccelerators"]
        ]
    body["labels"] = {**body["labels"], "ray-node-type": role, "ray-cluster-name": cluster}
    request = clients.compute.instances().insert(project=place["project_id"], zone=zone, body=body)
    clients.finish(request, f"launching the {role}")
    return str(body["name"])


def _running(clients: Clients, config: Json, role: str) -> bool:
    wanted = f"(labels.ray-cluster-name = {config['cluster_name']}) AND (labels.ray-node-type = {role})"
    place = {"project": config["provider"]["project_id"], "zone": config["provider"]["availability_zone"]}
    answer = clients.call(clients.compute.instances().list(filter=wanted, **place), "listing")
    return any(item["status"] in ("PROVISIONING", "RUNNING") for item in answer.get("items", []))


def doze(seconds: float) -> None:
    """Sleep, but not as long as a person would have to."""
    time.sleep(min(seconds, 0.02))


class Dies:
    """A launcher that dies when it has launched."""

    def __init__(self, inner: Up) -> None:
        self.check, self.accept, self._inner = inner.check, inner.accept, inner

    def __call__(self, config: Path, log: Path, say: Say) -> None:
        """Launch and fail."""
        self._inner(config, log, say)
        raise CloudFault("the launcher has died")
