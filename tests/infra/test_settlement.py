"""What a run is settled at: exact where somebody looked, never below the truth where nobody did."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.account import Ledger
from infra.budget import LEAST_BILLED, SPOT_HEADROOM, hours_of, storage, worst_case
from infra.cluster import Inventory, Node, Run
from infra.events import Event, MemoryStore
from infra.faults import Fault, Refused
from infra.history import gaps
from infra.ledger import observe, reserve, settle
from tests.infra.money import HEAD, MARGIN, RATES, START, WORKER, at, inventory, node, run, shape

PER_HOUR = 60 * 0.08 / 672 + 0.005  # disk and address of one machine


@dataclass(frozen=True)
class Truth:
    """A machine as it really was.

    Attributes:
        price: on its tag; None: it bears none.
        charged: dollars per hour that the cloud takes.
        told: whether the cloud says when it ended.
    """

    name: str
    since: datetime
    until: datetime
    price: float | None
    charged: float
    told: bool

    @property
    def dollars(self) -> float:
        return (self.charged + PER_HOUR) * hours_of(max(self.until - self.since, LEAST_BILLED))

    def seen(self, when: datetime, memory: timedelta) -> Node | None:
        if self.since > when or self.until < when - memory:
            return None
        if self.until > when:
            return node(self.name, self.since, self.price)
        return node(self.name, self.since, self.price, self.until if self.told else None, state="terminated")


@st.composite
def machines(draw: Any, of: Run) -> list[Truth]:
    """Machines one after another in each of the places that the shape has."""
    found = []
    most = int((of.deadline + MARGIN - of.start).total_seconds())
    for place in range(of.shape.workers + 1):
        moment = 0
        for number in range(draw(st.integers(0, 3))):
            since = moment + draw(st.integers(0, 3600))
            until = since + draw(st.integers(60, 4 * 3600))
            if until > most:
                break
            moment = until
            price = HEAD.on_demand if place == 0 else draw(st.sampled_from([WORKER.on_demand, 0.22, 0.45]))
            ceiling = min(price * SPOT_HEADROOM, WORKER.on_demand)
            charged = price if price in (HEAD.on_demand, WORKER.on_demand) else draw(st.floats(0.1, ceiling))
            shown = None if draw(st.integers(0, 9)) == 0 else price
            launched, ended = (of.start + timedelta(seconds=s) for s in (since, until))
            found.append(Truth(f"{place}-{number}", launched, ended, shown, charged, draw(st.booleans())))
    return found


def told(when: datetime, truth: Sequence[Truth], memory: timedelta, *, lost: bool = False) -> Inventory:
    nodes = [found for one in truth if (found := one.seen(when, memory)) is not None]
    unreachable = {"us-east-1": "timed out"} if lost else {}
    return Inventory(when, tuple(nodes[len(nodes) // 2 :] if lost else nodes), unreachable=unreachable, memory=memory)


def settled(of: Run, looks: Sequence[Inventory], now: datetime, margin: timedelta | None) -> tuple[float, float]:
    """The settlement, and what was reserved."""
    store = MemoryStore()
    reserved = worst_case(of.shape, RATES, of.start, of.deadline, MARGIN).total
    reserve(store, 1e6, of.id, reserved, of.deadline, of.start)
    for look in looks:
        observe(store, of.id, look, of.region)
    return settle(store, of, RATES, now, margin=margin).dollars, reserved


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_it_is_never_below_the_true_cost_nor_above_the_reservation(data: Any) -> None:
    of = run(hours=data.draw(st.floats(0.5, 10)), of=shape(workers=data.draw(st.integers(0, 3))))
    truth = data.draw(machines(of))
    memory = timedelta(minutes=data.draw(st.sampled_from([0, 5, 60, 60, 600])))
    last = max([of.start, *(one.until for one in truth)]) + timedelta(minutes=data.draw(st.integers(0, 3000)))
    span = int((last - of.start).total_seconds())
    often = range(0, span, max(60, int(memory.total_seconds()))) if span < 100_000 else ()
    regular = [*often] if memory and data.draw(st.booleans()) else []
    moments = regular + data.draw(st.lists(st.integers(0, span), max_size=6))
    # Written down in any order: who asked the cloud first may write last.
    lost = data.draw(st.sets(st.sampled_from(moments), max_size=2)) if moments else set()
    if data.draw(st.booleans()):
        moments = data.draw(st.permutations(moments))
    looks = [told(of.start + timedelta(seconds=s), truth, memory, lost=s in lost) for s in moments]
    looks.append(told(last + timedelta(seconds=1), truth, memory))
    now = last + timedelta(seconds=1 + data.draw(st.integers(0, 1000)))
    margin = data.draw(st.sampled_from([None, MARGIN]))
    cost, reserved = settled(of, looks, now, margin)
    true = storage(of.shape, RATES, now - of.start) + math.fsum(one.dollars for one in truth)
    assert cost >= true - 1e-9
    assert cost <= reserved + 1e-9


@settings(deadline=None)
@given(st.data())
def test_it_is_exact_where_somebody_looked_often_enough(data: Any) -> None:
    of = run()
    truth = [
        replace(one, told=True) for one in data.draw(machines(of)) if one.price in (HEAD.on_demand, WORKER.on_demand)
    ]
    truth = [replace(one, charged=one.price or 0.0) for one in truth]
    last = max([of.start, *(one.until for one in truth)]) + timedelta(seconds=1)
    looks = [told(of.start + timedelta(minutes=30 * n), truth, timedelta(hours=1)) for n in range(30)]
    looks = [look for look in looks if look.at < last] + [told(last, truth, timedelta(hours=1))]
    cost, _ = settled(of, looks, last, None)
    assert cost == pytest.approx(storage(of.shape, RATES, last - of.start) + sum(one.dollars for one in truth))


def test_a_run_that_launched_nothing_costs_its_storage_alone() -> None:
    assert settled(run(), [inventory(at(2))], at(2), None)[0] == pytest.approx(0.0023)


def test_a_stretch_in_which_nobody_looked_counts_as_if_everything_ran() -> None:
    head = node("h", at(0), HEAD.on_demand)
    looks = [inventory(at(5), [head]), inventory(at(125), [replace(head, state="terminated", ended=at(120))])]
    cost, _ = settled(run(), looks, at(125), None)
    # From minute 5 to 65 the cloud has forgotten what ended: two workers may have run.
    workers = 2 * (WORKER.on_demand + PER_HOUR)
    assert cost == pytest.approx(0.0023 + 2 * (HEAD.on_demand + PER_HOUR) + workers)


def test_after_the_deadline_and_its_margin_nothing_is_assumed_to_have_run() -> None:
    of, head = run(hours=1), node("h", at(0), HEAD.on_demand)
    looks = [inventory(at(60), [head]), inventory(at(5000))]
    cost, reserved = settled(of, looks, at(5000), MARGIN)
    whole = 2 * (WORKER.on_demand + PER_HOUR) + HEAD.on_demand + PER_HOUR
    assert cost == pytest.approx(0.0023 + HEAD.on_demand + PER_HOUR + whole / 6)
    assert cost < reserved
    assert settled(of, looks, at(5000), None)[0] == pytest.approx(reserved)


def test_a_later_deadline_counts_even_if_the_record_has_the_older() -> None:
    of, store = run(hours=1), MemoryStore()
    reserve(store, 50, of.id, 4.0, of.deadline, START)
    reserve(store, 50, of.id, 8.0, of.deadline + timedelta(hours=1), at(5))
    observe(store, of.id, inventory(at(60)))
    observe(store, of.id, inventory(at(5000)))
    whole = 2 * (WORKER.on_demand + PER_HOUR) + HEAD.on_demand + PER_HOUR
    assert settle(store, of, RATES, at(5000), margin=MARGIN).dollars == pytest.approx(0.0023 + whole * 70 / 60)


def test_machines_that_are_known_to_have_cost_more_than_was_reserved_are_not_hidden() -> None:
    store, of = MemoryStore(), run(hours=1)
    reserve(store, 50, of.id, 0.10, of.deadline, START)
    observe(store, of.id, inventory(at(120), [node("w", at(0), 0.526, at(120))], memory=300))
    event = settle(store, of, RATES, at(120))
    assert event.dollars == pytest.approx(0.0023 + 2 * (0.526 + PER_HOUR))
    assert Ledger(store.read()).committed() == event.dollars


def test_a_machine_that_lives_for_a_moment_is_billed_for_a_minute() -> None:
    look = inventory(at(1), [node("w", at(0), 0.526, at(0.1))])
    assert settled(run(), [look], at(1), None)[0] == pytest.approx(0.0023 + (0.526 + PER_HOUR) / 60)


def test_a_machine_without_a_price_is_taken_for_the_dearest() -> None:
    look = inventory(at(60), [node("w", at(0), None, at(60))])
    assert settled(run(), [look], at(60), None)[0] == pytest.approx(0.0023 + WORKER.on_demand + PER_HOUR)


def test_the_tags_millionths_of_a_dollar_are_rounded_back() -> None:
    of = run(of=shape(worker=replace(WORKER, on_demand=0.52600049)))
    look = inventory(at(60), [node("w", at(0), 0.526, at(60))])
    assert settled(of, [look], at(60), None)[0] >= 0.52600049 + PER_HOUR


def test_a_machine_that_is_still_there_keeps_the_run_open() -> None:
    with pytest.raises(Fault, match="w of the run run-1 still cost money"):
        settled(run(), [inventory(at(5), [node("w", at(1), 0.5)])], at(6), None)


def test_settled_twice_is_settled_once() -> None:
    store, of = MemoryStore(), run()
    reserve(store, 50, of.id, 5.0, of.deadline, START)
    observe(store, of.id, inventory(at(1)))
    first = settle(store, of, RATES, at(1))
    assert settle(store, of, RATES, at(100)) == first
    assert Ledger(store.read()).open_runs() == []


def test_what_was_never_reserved_is_not_settled() -> None:
    with pytest.raises(Refused, match="nothing was ever reserved for the run run-1"):
        settle(MemoryStore(), run(), RATES, at(1))


def test_a_machine_not_yet_told_of_is_not_forgotten() -> None:
    """The cloud tells of it, then in the next breath does not, then does again, as happens just after the launch."""
    store, of, alive = MemoryStore(), run(), node("w", at(1), 0.526)
    reserve(store, 50, of.id, 5.0, of.deadline, START)
    for look in (inventory(at(2), [alive]), inventory(at(3)), inventory(at(4), [alive])):
        observe(store, of.id, look)
    (life,) = Ledger(store.read()).runs[of.id].lives
    assert life.until is None
    ended = replace(alive, state="terminated", ended=at(31))
    observe(store, of.id, inventory(at(32), [ended]))
    assert settle(store, of, RATES, at(32)).dollars == pytest.approx(0.0023 + (0.526 + PER_HOUR) / 2)


def test_where_the_cloud_could_not_be_asked_nothing_is_proved() -> None:
    store, of, worker = MemoryStore(), run(), node("w", at(0), 0.526)
    reserve(store, 50, of.id, 5.0, of.deadline, START)
    observe(store, of.id, inventory(at(10), [worker]), of.region)
    observe(store, of.id, inventory(at(20), unreachable={of.region: "timed out"}), of.region)
    observe(store, of.id, inventory(at(21), unreachable={"eu-west-1": "timed out"}))
    assert Ledger(store.read()).runs[of.id].lives[0].until is None
    elsewhere = inventory(at(30), unreachable={"eu-west-1": "timed out"})
    observe(store, of.id, elsewhere, of.region)
    assert Ledger(store.read()).runs[of.id].lives[0].until == at(30)


def test_a_spot_machine_is_booked_at_what_is_bid_for_it() -> None:
    look = inventory(at(60), [node("w", at(0), 0.2, at(60))])
    assert settled(run(), [look], at(60), None)[0] == pytest.approx(0.0023 + 0.25 + PER_HOUR)
    certain = settled(run(of=shape(spot=False)), [look], at(60), None)[0]
    assert certain == pytest.approx(0.0023 + 0.2 + PER_HOUR)


def test_seen_after_its_end_it_has_not_ended() -> None:
    store, of, worker = MemoryStore(), run(), node("w", at(0), 0.526)
    reserve(store, 50, of.id, 5.0, of.deadline, START)
    observe(store, of.id, inventory(at(10), [replace(worker, state="terminated", ended=at(9))]))
    observe(store, of.id, inventory(at(20), [worker]))
    assert Ledger(store.read()).runs[of.id].lives[0].until is None
    observe(store, of.id, inventory(at(30), [replace(worker, state="terminated", ended=at(29))]))
    assert Ledger(store.read()).runs[of.id].lives[0].until == at(29)


def test_who_asked_first_and_wrote_last_ends_nothing() -> None:
    store, of = MemoryStore(), run()
    reserve(store, 50, of.id, 5.0, of.deadline, START)
    observe(store, of.id, inventory(at(10), [node("w", at(8), 0.526)]))
    observe(store, of.id, inventory(at(7)))
    (life,) = Ledger(store.read()).runs[of.id].lives
    assert life.until is None


def test_an_end_older_than_the_last_sight_is_written_down_once() -> None:
    store, of = MemoryStore(), run()
    reserve(store, 50, of.id, 5.0, of.deadline, START)
    observe(store, of.id, inventory(at(10), [node("w", at(0), 0.526)]))
    size = len(store.read())
    for _ in range(2):
        observe(store, of.id, inventory(at(5), [node("w", at(0), 0.526, state="terminated")]))
    assert len(store.read()) == size + 2  # the end, and a look at what was there then
    assert Ledger(store.read()).runs[of.id].lives[0].until is None


def test_an_end_that_comes_to_light_late_is_written_down_though_newer_looks_told_nothing() -> None:
    store, of = MemoryStore(), run(of=shape(workers=0))
    reserve(store, 50, of.id, 5.0, of.deadline, START)
    observe(store, of.id, inventory(at(85)))
    observe(store, of.id, inventory(at(60), [node("h", at(0), HEAD.on_demand, state="terminated")]))
    (life,) = Ledger(store.read()).runs[of.id].lives
    assert (life.certain, life.until) == (at(0), at(60))


def test_gaps_are_what_no_observation_covers() -> None:
    def seen(since: float, when: float) -> Event:
        return Event(1, at(when), "seen", "run-1", since=at(since))

    assert gaps([], at(0), at(10)) == [(at(0), at(10))]
    assert gaps([seen(-5, 2), seen(4, 6), seen(5, 7)], at(0), at(10)) == [(at(2), at(4)), (at(7), at(10))]
    assert gaps([seen(-60, 20)], at(0), at(10)) == []
    assert gaps([seen(20, 30)], at(0), at(10)) == [(at(0), at(10))]
    assert gaps([seen(8, 12), seen(0, 3)], at(0), at(10)) == [(at(3), at(8))]
