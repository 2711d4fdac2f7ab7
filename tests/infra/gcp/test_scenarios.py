"""Whole lives of a cluster, by the real commands, against the double: in the end nothing is left, and it is settled.

The same ends as those of the pretended AWS. The machines have no inside here; what they would do themselves, delete
themselves or halt, the test does for them.
"""

import gc
from pathlib import Path

import pytest

from infra.down import down
from infra.extend import extend
from infra.faults import CloudFault, Fault, Refused
from infra.up import up
from tests.infra.gcp.double import Double
from tests.infra.gcp.person import Sit, past_deadline, sit
from tests.infra.gcp.standins import Dies, Up
from tests.infra.killing import Killed, Reaper, watched

__all__ = ["sit"]


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
