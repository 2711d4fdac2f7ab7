"""Deadlines, vanished and halted machines, and the reaper: by commands, by the platform, by machines themselves."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from infra import record
from infra.down import down
from infra.faults import CloudFault
from infra.gcp.clients import Clients
from infra.reap import reap
from infra.up import up
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import ZONE
from tests.infra.gcp.person import Sit, inside, past_deadline, sit
from tests.infra.gcp.standins import launch

__all__ = ["sit"]


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


def test_the_head_takes_the_workers_down_and_then_itself(
    sit: Sit, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the watchdog does, by the code that runs on the machines; the double checks its requests as all others."""
    me = sit()
    up(me.context)
    workers = [me.worker(), me.worker("worker")]
    head = inside(me, "head", me.nodes()["head"].id, monkeypatch)
    assert head.deadline() is None
    assert sorted(worker.id for worker in head.workers() if worker.costs) == sorted(workers)
    head.terminate([*workers, "long-gone"])
    assert [worker for worker in head.workers() if worker.costs] == []
    head.end_self()
    assert me.nodes() == {}
    down(me.context)
    me.assert_nothing_left()


def test_the_head_vanishes_and_the_worker_deletes_itself(
    sit: Sit, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = sit()
    up(me.context)
    me.worker()
    worker = me.nodes()["worker"].id
    double.compute.gone((ZONE, me.nodes()["head"].id))
    inside(me, "worker", worker, monkeypatch).end_self()
    assert me.nodes() == {}
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
