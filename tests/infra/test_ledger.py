"""What is committed never passes the budget, whoever reserves, extends, looks and settles at the same time."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.account import Ledger
from infra.events import Event, EventStore, MemoryStore, Taken, decode, encode
from infra.faults import Fault, Refused
from infra.ledger import LocalStore, cost_so_far, observe, reserve, settle
from tests.infra.money import RATES, START, at, inventory, node, run
from tests.infra.racing import Writer, race

LATER = START + timedelta(hours=4)
words = st.text("abc-", min_size=1, max_size=4)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda when: when.replace(tzinfo=START.tzinfo))


def test_a_reservation_binds_dollars_until_it_is_settled() -> None:
    store, of = MemoryStore(), run()
    event = reserve(store, 50.0, of.id, 5.0, of.deadline, START)
    assert (event.number, event.kind, event.dollars, event.deadline) == (1, "reserved", 5.0, of.deadline)
    ledger = Ledger(store.read())
    assert (ledger.committed(), ledger.reserved(), ledger.spent(at(9))) == (5.0, 5.0, 0.0)
    (account,) = ledger.open_runs()
    assert (account.id, account.start, account.deadline, account.settled) == (of.id, START, of.deadline, None)
    assert ledger.run("other") is None
    observe(store, of.id, inventory(at(30), [node("w", at(0), 0.526, at(30))]))
    event = settle(store, of, RATES, at(30))
    ledger = Ledger(store.read())
    assert ledger.open_runs() == []
    assert ledger.committed() == ledger.spent(at(99)) == event.dollars == pytest.approx(0.27, abs=0.01)


def test_what_machines_have_cost_so_far_is_known_while_they_run() -> None:
    store, of = MemoryStore(), run()
    reserve(store, 50.0, of.id, 5.0, of.deadline, START)
    observe(store, of.id, inventory(at(60), [node("h", at(0), 0.1), node("w", at(30), 0.6, at(60))]))
    ledger = Ledger(store.read())
    assert ledger.spent(at(60)) == pytest.approx(0.1 + 0.3)
    assert ledger.spent(at(120)) == pytest.approx(0.2 + 0.3)
    assert ledger.spent(at(60_000)) == 5.0
    account = ledger.runs[of.id]
    assert 0.4 < cost_so_far(account, of, RATES, at(60)) < 0.5


def test_the_last_dollar_is_spent_once() -> None:
    store = MemoryStore()
    reserve(store, 50.0, "one", 30.0, LATER, START)
    reserve(store, 50.0, "two", 20.0, LATER, START)
    sentence = r"at worst this costs \$0.01, and of the budget of \$50.00 \(cloud.budget_usd\) \$50.00 are spent"
    with pytest.raises(Refused, match=sentence):
        reserve(store, 50.0, "three", 0.01, LATER, START)
    assert len(store.read()) == 2
    with pytest.raises(Refused, match="at worst"):
        reserve(MemoryStore(), 50.0, "one", math.nextafter(50.0, 51.0), LATER, START)


def test_the_same_reservation_once_more_is_no_new_event() -> None:
    store = MemoryStore()
    first = reserve(store, 50.0, "one", 30.0, LATER, START)
    assert reserve(store, 50.0, "one", 30.0, LATER, at(1)) == first
    assert store.read() == [first]


def test_a_later_deadline_takes_the_place_of_the_reservation() -> None:
    store = MemoryStore()
    reserve(store, 50.0, "one", 30.0, LATER, START)
    reserve(store, 50.0, "one", 45.0, LATER + timedelta(hours=1), at(1))
    ledger = Ledger(store.read())
    assert ledger.committed() == 45.0
    assert (ledger.runs["one"].start, ledger.runs["one"].deadline) == (START, LATER + timedelta(hours=1))
    with pytest.raises(Refused, match=r"at worst this costs \$51.00"):
        reserve(store, 50.0, "one", 51.0, LATER + timedelta(hours=2), at(2))
    # Prices may have fallen since, but machines run that were reserved for when they were dear.
    reserve(store, 50.0, "one", 10.0, LATER + timedelta(hours=2), at(2))
    assert Ledger(store.read()).committed() == 45.0


def test_a_run_that_is_over_reserves_no_more() -> None:
    store, of = MemoryStore(), run()
    reserve(store, 50.0, of.id, 5.0, of.deadline, START)
    settle(store, of, RATES, START)
    with pytest.raises(Refused, match="run-1 is over and settled"):
        reserve(store, 50.0, of.id, 6.0, of.deadline, at(1))


@pytest.mark.parametrize("budget", [0.0, -5.0, math.nan, math.inf])
def test_a_budget_that_is_none_is_refused(budget: float) -> None:
    with pytest.raises(Refused, match="budget_usd must be a number above 0, not"):
        reserve(MemoryStore(), budget, "one", 1.0, LATER, START)


@pytest.mark.parametrize("dollars", [-1.0, math.nan, math.inf])
def test_dollars_that_are_none_are_refused(dollars: float) -> None:
    with pytest.raises(Refused, match="must be a number from 0 on, not"):
        reserve(MemoryStore(), 50.0, "one", dollars, LATER, START)


def test_a_deadline_that_has_passed_is_refused() -> None:
    with pytest.raises(Refused, match="the deadline 2026-11-26 17:00:00 UTC has passed"):
        reserve(MemoryStore(), 50.0, "one", 1.0, START, START)


def test_looking_twice_adds_nothing_and_an_end_is_written_down_once() -> None:
    store, of, worker = MemoryStore(), run(), node("w", at(1), 0.526)
    reserve(store, 50.0, of.id, 5.0, of.deadline, START)
    observe(store, of.id, inventory(at(2), [worker, node("x", at(1), 0.5, run="another")]))
    assert [event.kind for event in store.read()] == ["reserved", "launched", "seen"]
    observe(store, of.id, inventory(at(3), [worker]))
    assert len(store.read()) == 3
    observe(store, of.id, inventory(at(20), [worker]))
    assert len(store.read()) == 4
    gone = node("w", at(1), 0.526, state="terminated")
    for minute in (21, 21, 21.5):
        observe(store, of.id, inventory(at(minute), [gone]))
    assert [event.kind for event in store.read()][4:] == ["ended", "seen"]
    exact = node("w", at(1), 0.526, at(20.5))
    for _ in range(2):
        observe(store, of.id, inventory(at(21.6), [exact]))
    assert [event.kind for event in store.read()][6:] == ["ended"]
    assert Ledger(store.read()).runs[of.id].lives[0].until == at(20.5)


def test_a_run_that_was_never_reserved_leaves_no_trace() -> None:
    store = MemoryStore()
    observe(store, "run-1", inventory(at(2), [node("w", at(1), 0.526)]))
    assert store.read() == []


def test_machines_found_after_the_settlement_are_added_to_it() -> None:
    store, of = MemoryStore(), run()
    reserve(store, 50.0, of.id, 5.0, of.deadline, START)
    settle(store, of, RATES, START)
    observe(store, of.id, inventory(at(60), [node("w", at(0), 0.526, at(60))]))
    observe(store, of.id, inventory(at(60)))
    assert Ledger(store.read()).committed() == pytest.approx(0.526)


def test_a_missing_event_stops_everything() -> None:
    store = MemoryStore()
    for name in ("one", "two", "three"):
        reserve(store, 50.0, name, 1.0, LATER, START)
    with pytest.raises(Fault, match="event 2 of the ledger is missing"):
        Ledger([event for event in store.read() if event.number != 2])


def test_a_store_that_always_refuses_is_given_up() -> None:
    class Broken(MemoryStore):
        def append(self, event: Event) -> None:
            raise Taken

    with pytest.raises(Fault, match="somebody else did all the time"):
        reserve(Broken(), 50.0, "one", 1.0, LATER, START)


events = st.builds(
    Event,
    number=st.integers(1, 10**9),
    at=moments,
    kind=st.sampled_from(["reserved", "launched", "seen", "ended", "settled"]),
    run=words,
    dollars=st.floats(0, 1e6),
    node=words,
    price=st.floats(0, 1e3),
    since=st.none() | moments,
    deadline=st.none() | moments,
    nodes=st.lists(words).map(tuple),
)


@settings(deadline=None)
@given(events)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    text = encode(event)
    assert "\n" not in text
    assert decode(text) == event


@pytest.mark.parametrize(
    "text",
    [
        *("", "7", "[]", "null", "{", "{}", '{"number":1}'),
        '{"number":1,"at":"2026-11-26T17:00:00+00:00","kind":"paid","run":"one"}',
        '{"number":1,"at":"2026-11-26T17:00:00","kind":"seen","run":"one"}',
        '{"number":1,"at":"2026-11-26T17:00:00+00:00","kind":"settled","run":"one","dollars":NaN}',
        '{"number":1,"at":"2026-11-26T17:00:00+00:00","kind":"settled","run":"one","dollars":-1}',
        '{"number":1,"at":"2026-11-26T17:00:00+00:00","kind":"seen","run":"one","more":1}',
        '{"number":"1","at":"2026-11-26T17:00:00+00:00","kind":"seen","run":"one"}',
    ],
)
def test_what_is_no_event_is_not_read(text: str) -> None:
    with pytest.raises(Fault, match="this is no event of a ledger"):
        decode(text)


BUDGET = 10.0


def work(number: int, dollars: Sequence[float]) -> Writer:
    """One person: reserves, looks, extends, settles, and reserves anew; stops at the first refusal."""

    def writer(store: EventStore) -> None:
        for turn, amount in enumerate(dollars):
            of = run(f"{number}-{turn}")
            reserve(store, BUDGET, of.id, amount, of.deadline, START)
            observe(store, of.id, inventory(at(30), [node(f"{number}", START, 0.1, at(30), run=of.id)]))
            reserve(store, BUDGET, of.id, amount * 1.5, of.deadline + timedelta(hours=1), at(30))
            if turn % 2 == 0:
                settle(store, of, RATES, at(30))

    return writer


amounts = st.lists(st.lists(st.floats(0.5, 6.0), min_size=1, max_size=3), min_size=2, max_size=4)
orders = st.lists(st.integers(0, 3), max_size=60)


def hold_the_budget(store: EventStore, dollars: list[list[float]], order: list[int]) -> None:
    def check() -> None:
        found = store.read()
        assert [event.number for event in found] == list(range(1, len(found) + 1))
        assert Ledger(found).committed() <= BUDGET

    results = race(store, [work(number, own) for number, own in enumerate(dollars)], order, check)
    assert all(result is None or isinstance(result, Refused) for result in results), results


@settings(deadline=None)
@given(amounts, orders)
def test_whoever_races_the_budget_holds(dollars: list[list[float]], order: list[int]) -> None:
    hold_the_budget(MemoryStore(), dollars, order)


@settings(max_examples=25, deadline=None)
@given(amounts, orders)
def test_whoever_races_the_budget_holds_in_a_file(dollars: list[list[float]], order: list[int]) -> None:
    with TemporaryDirectory() as folder:
        hold_the_budget(LocalStore(Path(folder) / "ledger.jsonl"), dollars, order)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 9.0)), max_size=20), st.data())
def test_a_sum_of_cents_does_not_slip_past_the_budget(wanted: list[tuple[str, float]], data: Any) -> None:
    store = MemoryStore()
    for name, dollars in wanted:
        try:
            reserve(store, BUDGET, name, dollars, LATER + timedelta(seconds=data.draw(st.integers(0, 9))), START)
        except Refused:
            reserved = {account.id: account.reserved for account in Ledger(store.read()).open_runs()}
            assert math.fsum({**reserved, name: max(dollars, reserved.get(name, 0.0))}.values()) > BUDGET
        assert Ledger(store.read()).committed() <= BUDGET
