"""Whole lives of a cluster, by the real commands, against the double: in the end nothing is left, and it is settled.

The same ends as those of the pretended AWS. The machines have no inside here; what they would do themselves, delete
themselves or halt, the test does for them.
"""

import gc
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from infra import overdue, record
from infra.cluster import Node
from infra.context import Context
from infra.down import down
from infra.extend import extend
from infra.faults import CloudFault, Fault, Refused
from infra.gcp import Gcp
from infra.gcp.clients import Clients
from infra.ledger import Ledger
from infra.reap import reap
from infra.settings import CloudConfig, GcpConfig
from infra.up import up
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import ZONE
from tests.infra.gcp.standins import Dies, Up, doze, launch
from tests.infra.killing import Killed, Reaper, watched

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


def test_up_work_down(sit: Sit, double: Double) -> None:
    me = sit()
    kept = up(me.context)
    me.worker()
    me.worker("worker")
    nodes = me.nodes()
    assert {node.state for node in nodes.values()} == {"running"}
    assert {node.run for node in nodes.values()} == {kept.run.id}
    assert nodes["head"].deadline == kept.run.deadline
    assert past_deadline(me) == []
    down(me.context)
    me.assert_nothing_left()
    (settled,) = [event for event in me.context.store.read() if event.kind == "settled"]
    assert 0 <= settled.dollars < 1


def test_nothing_is_asked_for_before_the_reservation_stands(sit: Sit, double: Double) -> None:
    up(sit().context)
    order = [method for method, _, _ in double.calls]
    reserved = order.index("storage.objects.insert")
    makes = [place for place, method in enumerate(order) if method.endswith((".insert", ".create"))]
    # The bucket is where the reservation is written down; it costs nothing by itself.
    assert [order[place] for place in makes if place < reserved] == ["storage.buckets.insert"]


def test_down_is_safe_twice_and_without_any_file(sit: Sit, folder: Path) -> None:
    me = sit()
    up(me.context)
    me.worker()
    for file in (folder / ".fifty" / "cloud").iterdir():
        file.unlink()
    for _ in range(2):
        down(me.anew().context)
        me.assert_nothing_left()


# Steps, the launch and what comes after it; each before or after the call, and by turns `up` or `down` comes next.
MOMENTS = ("append", "ray-account", "head-account", "rights", "network", "subnetwork", "ssh", "launch", "launched")
DEATHS = [(name, 1, when) for name in MOMENTS for when in ("before", "after")]
NEXT = [(death, ("up", "down", "down", "up")[place % 4]) for place, death in enumerate(DEATHS)]


@pytest.mark.parametrize(("death", "then"), NEXT, ids=lambda value: str(value))
def test_up_is_killed(sit: Sit, death: tuple[str, int, str], then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fifty up` goes on as the same run, `fifty down` clears, wherever it was killed."""
    me = sit()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        up(watched(me.context, Reaper(named=death), patch.setattr))  # type: ignore[arg-type]
    before = me.kept
    me = me.anew()
    if then == "up":
        after = up(me.context)
        assert before is None or after.run.id == before.run.id
        assert sorted(str(role) for role in me.nodes()) == ["head"]
        assert len(me.ledger.open_runs()) == 1
    down(me.context)
    me.assert_nothing_left()


@pytest.mark.parametrize(
    "method",
    [
        "compute.instances.delete",
        "compute.firewalls.delete",
        "compute.subnetworks.delete",
        "compute.networks.delete",
        "iam.projects.serviceAccounts.delete",
    ],
)
@pytest.mark.parametrize("acted", [False, True])
def test_down_fails_halfway_and_is_run_again(sit: Sit, double: Double, method: str, acted: bool) -> None:
    me = sit()
    up(me.context)
    me.worker()
    double.fail(method, 401, "authError", acted=acted)
    try:
        down(me.context)
    except Fault:
        down(me.anew().context)
    me.assert_nothing_left()


def test_the_deadline_is_reached_and_the_platform_deletes(sit: Sit, double: Double) -> None:
    """Nobody does anything: no laptop, no head that works. Then whoever comes next removes what costs nothing."""
    me = sit(hours=2.0)
    kept = up(me.context)
    me.worker()
    double.compute.advance(kept.run.deadline - double.compute.now() - timedelta(minutes=1))
    assert len(me.nodes()) == 2
    double.compute.advance(timedelta(minutes=2))
    assert not [thing for thing in double.left() if thing.startswith(("instances/", "disks/"))]
    assert past_deadline(me)
    reap(me.anew().context)
    me.assert_nothing_left()


def test_a_late_replacement_ends_at_the_same_moment(sit: Sit, double: Double) -> None:
    me = sit(hours=2.0)
    kept = up(me.context)
    double.compute.advance(timedelta(minutes=100))
    me.worker()
    double.compute.advance(kept.run.deadline - double.compute.now() + timedelta(seconds=1))
    assert me.nodes() == {}


def test_after_the_deadline_nothing_can_be_launched(sit: Sit, double: Double) -> None:
    me = sit(hours=2.0)
    up(me.context)
    double.compute.advance(timedelta(hours=3))
    with pytest.raises(CloudFault, match="terminationTime has passed"):
        me.worker()


def test_a_spot_machine_is_taken_away(sit: Sit, double: Double) -> None:
    me = sit()
    up(me.context)
    double.compute.preempt(me.worker())
    assert sorted(str(role) for role in me.nodes()) == ["head"]
    down(me.context)
    me.assert_nothing_left()


def test_the_head_vanishes_and_the_worker_deletes_itself(sit: Sit, double: Double) -> None:
    me = sit()
    up(me.context)
    me.worker()
    double.compute.gone((ZONE, me.nodes()["head"].id))
    double.compute.gone((ZONE, me.nodes()["worker"].id))
    down(me.anew().context)
    me.assert_nothing_left()


def test_a_machine_that_has_only_halted_is_seen_and_removed(sit: Sit, double: Double) -> None:
    """Its disk is billed, and the platform's time limit does not reach it any more."""
    me = sit(hours=2.0)
    up(me.context)
    name = me.worker()
    double.compute.power_off((ZONE, name))
    assert me.nodes()["worker"].state == "stopped"
    double.compute.advance(timedelta(hours=3))
    assert list(me.nodes()) == ["worker"]
    reap(me.anew().context)
    me.assert_nothing_left()


def test_reap_finds_what_is_in_every_zone(sit: Sit, double: Double, folder: Path) -> None:
    here, there = sit(hours=2.0), sit(hours=2.0, zone="us-central1-b", cluster="other")
    up(here.context)
    up(there.context)
    double.compute.power_off((ZONE, here.nodes()["head"].id))
    double.compute.power_off(("us-central1-b", there.nodes()["head"].id))
    double.compute.advance(timedelta(hours=3))
    reap(here.anew().context)
    assert here.nodes() == {}
    assert list(there.nodes()) == ["head"]
    for file in (folder / ".fifty" / "cloud").iterdir():
        file.unlink()
    reap(here.anew().context, all_regions=True)
    here.assert_nothing_left()


def test_reap_spares_what_is_not_due(sit: Sit) -> None:
    me = sit()
    up(me.context)
    reap(me.context)
    assert list(me.nodes()) == ["head"]
    reap(me.anew().context, everything=True)
    me.assert_nothing_left()


def test_what_is_not_ours_is_left_alone(sit: Sit, double: Double) -> None:
    me = sit()
    up(me.context)
    config = json.loads(record.file("main", ".yaml").read_text())
    for kind in config["available_node_types"].values():
        kind["node_config"]["labels"] = {"fifty-project": "another", "fifty-cluster": "main"}
    config["cluster_name"] = "theirs"
    theirs = launch(Clients(PROJECT), config, "worker")
    config["available_node_types"]["worker"]["node_config"]["labels"] = {}
    nobodys = launch(Clients(PROJECT), config, "worker")
    # In a real project these would not be in our network; then the network could go, too.
    double.compute.of("instances")[ZONE, theirs]["networkInterfaces"] = []
    double.compute.of("instances")[ZONE, nobodys]["networkInterfaces"] = []
    down(me.context)
    reap(me.context, all_regions=True, everything=True)
    assert {name for _, name in double.compute.of("instances")} == {theirs, nobodys}


def test_extend_is_refused_in_one_sentence(sit: Sit) -> None:
    me = sit()
    kept = up(me.context)
    with pytest.raises(Refused, match="Google Cloud fixes when a machine ends at its launch") as caught:
        extend(me.context, 1.0)
    assert "\n" not in str(caught.value)
    (account,) = me.ledger.open_runs()
    assert account.deadline == kept.run.deadline
    down(me.context)
    me.assert_nothing_left()


def test_the_launcher_dies_after_the_launch(sit: Sit) -> None:
    me = sit()
    with pytest.raises(CloudFault, match="has died"):
        up(me.launcher(Dies(Up(workers=1))).context)
    assert sorted(str(role) for role in me.nodes()) == ["head", "worker"]
    down(me.anew().context)
    me.assert_nothing_left()


def test_there_is_no_such_machine_to_give(sit: Sit, double: Double) -> None:
    me = sit()
    double.fail_operation("compute.instances.insert", "ZONE_RESOURCE_POOL_EXHAUSTED", "The zone has not enough of it.")
    with pytest.raises(Fault, match="ZONE_RESOURCE_POOL_EXHAUSTED"):
        up(me.context)
    up(me.anew().context)
    down(me.context)
    me.assert_nothing_left()


def test_the_api_is_away_for_a_while(sit: Sit, double: Double) -> None:
    me = sit()
    up(me.context)
    double.fail("compute.instances.aggregatedList", 503, "backendError", times=2)
    down(me.context)
    me.assert_nothing_left()


def test_a_new_account_without_gpus_is_refused_before_anything_is_made(sit: Sit, double: Double) -> None:
    double.compute.quotas["GPUS_ALL_REGIONS"] = 0.0
    me = sit()
    with pytest.raises(Refused, match="GPUS_ALL_REGIONS"):
        up(me.context)
    assert double.left() == []
    assert me.kept is None


def test_operations_that_take_their_time(sit: Sit, double: Double) -> None:
    double.compute.delay = 0.1
    me = sit()
    up(me.context)
    me.worker()
    down(me.context)
    me.assert_nothing_left()
    gc.collect()
