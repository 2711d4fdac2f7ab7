"""`fifty extend`: a later deadline, if the budget and the cloud allow; interrupted, it is finished."""

from dataclasses import replace
from datetime import timedelta

import pytest

from infra import record
from infra.down import down
from infra.extend import extend
from infra.faults import Fault, Refused
from infra.up import up
from tests.infra.desk import Desk, desk
from tests.infra.killing import Killed, Reaper, watched

pytestmark = pytest.mark.usefixtures("folder")


def deadlines(me: Desk) -> set[str]:
    """Where everybody thinks the end is: nodes, leftovers, the ledger, the record."""
    state = me.fake.state.look()
    kept = me.kept
    assert kept is not None
    found = {node.deadline for node in state.nodes.values()} | {thing.deadline for thing in state.leftovers.values()}
    found |= {account.deadline for account in me.ledger.open_runs()} | {kept.run.deadline}
    return {f"{deadline:%H:%M}" for deadline in found if deadline}


def test_everybody_learns_of_the_later_deadline_and_it_is_reserved() -> None:
    me = desk(workers=1)
    up(me.context)
    before = me.ledger.open_runs()[0].reserved
    extend(me.context, 2.0)
    assert deadlines(me) == {"18:00"}
    after = me.ledger.open_runs()[0].reserved
    assert after - before == pytest.approx(2 * (0.10 + 2 * 0.60), rel=0.1)
    # No machine was replaced, and `fifty up` does not do so either.
    up(me.context)
    assert me.fake.state.look().calls["launch"] == 2
    down(me.context)
    me.assert_nothing_left()


def test_what_the_budget_does_not_allow_is_refused() -> None:
    me = desk(budget_usd=6.0)
    up(me.context)
    with pytest.raises(Refused, match="budget"):
        extend(me.context, 2.0)
    assert deadlines(me) == {"16:00"}


def test_a_cloud_that_fixes_the_time_refuses_before_anything_is_reserved() -> None:
    me = desk()
    up(me.context)
    me.fake.trouble(fixed=True)
    events = len(me.context.store.read())
    with pytest.raises(Refused, match="fixes"):
        extend(me.context, 2.0)
    assert len(me.context.store.read()) == events
    assert deadlines(me) == {"16:00"}


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan"), float("inf"), 1000.0])
def test_hours_that_make_no_sense_are_refused(hours: float) -> None:
    me = desk()
    up(me.context)
    with pytest.raises(Refused, match="hours"):
        extend(me.context, hours)


def test_what_is_not_there_or_over_is_refused() -> None:
    me = desk()
    with pytest.raises(Refused, match="no record of cluster main"):
        extend(me.context, 1.0)
    kept = up(me.context)
    record.save(replace(kept, status="launching"))
    with pytest.raises(Refused, match="not up yet"):
        extend(me.context, 1.0)
    record.save(replace(kept, status="ending"))
    with pytest.raises(Refused, match="being ended"):
        extend(me.context, 1.0)
    record.save(kept)
    me.clock.now += timedelta(hours=5)
    with pytest.raises(Refused, match="passed"):
        extend(me.context, 1.0)


def test_failed_on_the_way_it_is_finished_and_not_added_to() -> None:
    me = desk()
    up(me.context)

    class Half:
        """The first call, which changes nothing, succeeds; the second one fails."""

        def __init__(self) -> None:
            self.calls = 0

        def __getattr__(self, name: str) -> object:
            if name == "set_deadline":
                self.calls += 1
                me.fake.trouble(fail={"set_deadline": int(self.calls == 2)})
            return getattr(me.fake, name)

    with pytest.raises(Fault, match=r"reserved but not moved everywhere.*`fifty extend` again"):
        extend(me.again(provider=Half()).context, 1.0)
    extend(me.context, 1.0)
    assert deadlines(me) == {"17:00"}


def test_killed_anywhere_it_is_finished_and_can_be_taken_down() -> None:
    for at in range(1, 60, 2):
        me = desk()
        up(me.context)
        killed = False
        with pytest.MonkeyPatch.context() as patch:
            try:
                extend(watched(me.context, Reaper(at), patch.setattr), 1.0)
            except Killed:
                killed = True
        if killed:
            extend(me.context, 1.0)
            assert deadlines(me) in ({"17:00"}, {"18:00"})
        down(me.context)
        me.assert_nothing_left()
        if not killed:
            return
    raise AssertionError("never came to its end")
