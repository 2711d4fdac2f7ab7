"""A person with a folder, the real commands and the double for a cloud."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from infra import overdue, record
from infra.cluster import Node
from infra.context import Context
from infra.gcp import Gcp
from infra.gcp.clients import Clients
from infra.ledger import Ledger
from infra.node import gcp_state
from infra.node.facts import Facts
from infra.settings import CloudConfig, GcpConfig
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import ZONE
from tests.infra.gcp.standins import Dies, Up, doze, launch

RAY = f"ray-autoscaler-sa-v1@{PROJECT}.iam.gserviceaccount.com"
# The account that Ray wants is disabled and stays; it is no one's and costs nothing.
STAYS = [f"account/{RAY}"]
HOME = "203.0.113.7/32"


@dataclass
class Person:
    """Somebody with a folder and a cloud."""

    double: Double
    context: Context
    warned: list[str] = field(default_factory=list)

    @property
    def kept(self) -> record.Record | None:
        return record.load(self.context.settings.cluster)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.context.store.read())

    def nodes(self, **how: bool) -> dict[str | None, Node]:
        return {node.role: node for node in Gcp(self.context.settings).inventory(**how).nodes}

    def worker(self, kind: str = "worker-spot") -> str:
        """What the head's autoscaler does; returns the machine's name."""
        config = json.loads(record.file(self.context.settings.cluster, ".yaml").read_text())
        return launch(Clients(PROJECT), config, kind)

    def launcher(self, launcher: Up | Dies) -> "Person":
        return replace(self, context=replace(self.context, launch=launcher))

    def anew(self, **changes: object) -> "Person":
        """The same person in a new process, which remembers nothing that is not on the disk."""
        context = replace(self.context, provider=Gcp(self.context.settings), **changes)  # type: ignore[arg-type]
        return replace(self, context=context)

    def assert_nothing_left(self) -> None:
        assert [thing for thing in self.double.left() if not thing.endswith(RAY)] == []
        assert self.ledger.open_runs() == []
        assert self.kept is None


def past_deadline(me: Person) -> list[str]:
    """What every command begins by reporting."""
    return overdue.lines(me.context.provider.inventory())


Sit = Callable[..., Person]


@pytest.fixture
def sit(double: Double, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Sit:
    """Sit a person down before the project."""
    for name in ("infra", "pipelines", "lit_models", "pyproject.toml", "uv.lock", "README.md", "params.yaml"):
        (folder / name).touch()
    monkeypatch.setattr("infra.gcp.inventory.now", double.compute.now)

    def sit(**section: object) -> Person:
        zone = str(section.pop("zone", ZONE))
        named = {"worker": "n1-standard-4+nvidia-tesla-t4", "zone": zone}
        settings = CloudConfig(**{"ssh_from": HOME, "gcp": GcpConfig(**named), **section})  # type: ignore[arg-type]
        warned: list[str] = []
        context = Context(
            settings, Gcp(settings), zone, Up(), lambda _: None, warned.append, double.compute.now, doze, lambda: HOME
        )
        return Person(double, context, warned)

    return sit


def inside(me: Person, role: str, machine: str, patch: pytest.MonkeyPatch) -> gcp_state.Gcp:
    """The part of a machine that talks to Google."""
    for name, value in me.double.inside(machine).items():
        patch.setenv(name, value)
    assert me.kept
    run = me.kept.run
    facts = Facts("gcp", run.region, run.project, run.cluster, run.id, role, int(run.deadline.timestamp()), None, 10.0)
    return gcp_state.Gcp(facts)
