"""Dollars: price times share times time, divided among trials, and none lost between a kill and a rerun."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.costs import CostBook, Meter, price, share


@pytest.mark.parametrize(
    ("text", "dollars"),
    [("0.526", 0.526), ("2", 2.0), ("", 0), ("free", 0), ("-1", 0), ("nan", 0), ("inf", 0)],
)
def test_a_price_that_is_none_is_nothing(text: str, dollars: float) -> None:
    assert price({"fifty-price": text}) == dollars


def test_a_machine_without_a_price_costs_nothing() -> None:
    assert price({"ray.io/node-id": "1"}) == 0


def test_the_share_is_of_processors_or_gpus_whichever_is_more() -> None:
    machine = {"CPU": 8.0, "GPU": 2.0, "memory": 1e9}
    assert share(machine, 1, 0) == 0.125
    assert share(machine, 1, 0.5) == 0.25
    assert share(machine, 6, 0.5) == 0.75
    assert share(machine, 16, 0) == 1
    assert share({"CPU": 8.0}, 2, 0.5) == 0.25
    assert share({}, 1, 0) == 1, "nobody else can have had a part of it"


def test_a_meter_charges_each_second_once() -> None:
    now = 100.0
    meter = Meter(lambda: now)
    assert meter.charge("a") == 0
    meter.arrive("a", "m1", 3600.0)
    meter.arrive("b", "m2", 7200.0)
    now = 110.0
    assert meter.charge("a") == pytest.approx(10)
    assert meter.charge("a") == 0
    now = 115.0
    assert meter.leave("a") == ("m1", pytest.approx(5))
    assert meter.leave("a") == ("", 0)
    assert meter.leave("b") == ("m2", pytest.approx(30))


def test_a_book_is_there_again_after_a_kill(tmp_path: Path) -> None:
    book = CostBook(tmp_path / "costs.json")
    book.add(1.0, {0: 3, 1: 1})
    again = CostBook(tmp_path / "costs.json")
    assert (again.of(0), again.of(1), again.of(2)) == (0.75, 0.25, 0)
    again.add(1.0, {0: 0, 1: 0})
    again.save()
    assert CostBook(tmp_path / "costs.json").total == 2


def test_where_nothing_costs_nothing_is_written(tmp_path: Path) -> None:
    book = CostBook(tmp_path / "costs.json")
    book.add(0.0, {0: 1})
    book.save()
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.floats(0, 1e3), st.dictionaries(st.integers(0, 9), st.integers(0, 99), min_size=1))))
def test_what_is_divided_adds_up(amounts: list[tuple[float, dict[int, int]]]) -> None:
    book = CostBook()
    for dollars, weights in amounts:
        book.add(dollars, weights)
    assert book.total == pytest.approx(sum(dollars for dollars, _ in amounts))
    assert sum(book.of(trial) for trial in range(10)) == pytest.approx(book.total)
