"""The worst case: itemized, growing with everything, and the latest deadline exact to the second."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.budget import FURTHEST, LEFT_OUT, hourly, latest_deadline, spot_ceiling, worst_case
from infra.cluster import Machine, Offer, Rates, Shape
from infra.faults import Refused
from tests.infra.money import HEAD, MARGIN, RATES, START, WORKER, shape

money = st.floats(0.0, 200.0)
price = st.floats(1e-4, 200.0)
periods = st.timedeltas(timedelta(seconds=1), timedelta(days=60))
margins = st.timedeltas(timedelta(0), timedelta(hours=2))


def offers() -> st.SearchStrategy[Offer]:
    return st.builds(Offer, st.just(Machine("m", 4, 16)), st.just("r"), price, st.none() | money)


def shapes() -> st.SearchStrategy[Shape]:
    disks = st.integers(0, 2000)
    workers = st.integers(0, 1000)
    return st.builds(Shape, offers(), offers(), workers, st.booleans(), disks, disks, st.floats(0, 1000))


rates = st.builds(Rates, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))


def test_every_item_is_there_and_right() -> None:
    found = worst_case(shape(), RATES, START, START + timedelta(hours=4), timedelta(minutes=30))
    items = {item.name: item.dollars for item in found.items}
    assert items["head, m6a.large"] == pytest.approx(4 * 0.0864)
    assert items["2 workers, g4dn.xlarge, at the on-demand price"] == pytest.approx(4 * 2 * 0.526)
    assert items["disks"] == pytest.approx(4 * 180 * 0.08 / 672)
    assert items["public addresses"] == pytest.approx(4 * 3 * 0.005)
    assert items["storage, a month"] == pytest.approx(0.0023)
    assert items["teardown margin"] == pytest.approx(0.5 * hourly(shape(), RATES))
    assert found.total == pytest.approx(sum(items.values()))
    assert len(items) == 6


def test_spot_machines_are_reckoned_at_the_on_demand_price() -> None:
    end = START + timedelta(hours=1)
    assert worst_case(shape(spot=True), RATES, START, end, MARGIN) == worst_case(
        shape(spot=False), RATES, START, end, MARGIN
    )
    dearer = replace(WORKER, spot=0.9)
    assert worst_case(shape(worker=dearer), RATES, START, end, MARGIN).total == pytest.approx(
        worst_case(shape(worker=replace(WORKER, on_demand=0.9)), RATES, START, end, MARGIN).total
    )


def test_it_says_what_it_leaves_out() -> None:
    text = " ".join(LEFT_OUT)
    assert all(word in text for word in ("traffic", "tax", "credits"))


@settings(deadline=None)
@given(shapes(), rates, periods, margins, st.data())
def test_more_of_anything_never_costs_less(
    of: Shape, at: Rates, period: timedelta, margin: timedelta, data: Any
) -> None:
    def total(of: Shape, at: Rates, period: timedelta, margin: timedelta) -> float:
        return worst_case(of, at, START, START + period, margin).total

    base = total(of, at, period, margin)
    more = data.draw(st.floats(0, 100))
    count = data.draw(st.integers(0, 100))
    for side in ("head", "worker"):
        offer = getattr(of, side)
        dearer = replace(of, **{side: replace(offer, on_demand=offer.on_demand + more)})
        assert total(dearer, at, period, margin) >= base
    for field in ("workers", "head_disk_gb", "worker_disk_gb"):
        assert total(replace(of, **{field: getattr(of, field) + count}), at, period, margin) >= base
    assert total(replace(of, storage_gb=of.storage_gb + more), at, period, margin) >= base
    for field in ("disk_gb_month", "address_hour", "storage_gb_month"):
        assert total(of, replace(at, **{field: getattr(at, field) + more}), period, margin) >= base
    longer = data.draw(st.timedeltas(timedelta(0), timedelta(days=1)))
    assert total(of, at, period + longer, margin) >= base
    assert total(of, at, period, margin + longer) >= base


@settings(deadline=None)
@given(shapes(), rates, margins, st.floats(0.0, 5000.0), st.timedeltas(timedelta(0), timedelta(seconds=3)))
def test_the_latest_deadline_is_exact(of: Shape, at: Rates, margin: timedelta, left: float, more: timedelta) -> None:
    now = START + more

    def total(deadline: datetime) -> float:
        return worst_case(of, at, now, deadline, margin).total

    second = timedelta(seconds=1)
    try:
        latest = latest_deadline(of, at, now, margin, left)
    except Refused:
        assert total(now.replace(microsecond=0) + second) > left
        return
    assert latest > now
    assert latest.microsecond == 0
    assert total(latest) <= left
    assert total(latest + second) > left or latest + second > now + FURTHEST


@pytest.mark.parametrize("left", [0.0, -1.0, 0.05])
def test_a_budget_too_small_for_the_margin_is_refused_in_one_sentence(left: float) -> None:
    with pytest.raises(Refused, match=r"the budget has \$0.0\d left, and the teardown margin of 10 minutes alone"):
        latest_deadline(shape(), RATES, START, MARGIN, left)


@pytest.mark.parametrize("left", [math.nan, math.inf])
def test_what_is_left_must_be_a_number(left: float) -> None:
    with pytest.raises(Refused, match="must be a number, not"):
        latest_deadline(shape(), RATES, START, MARGIN, left)


@pytest.mark.parametrize("period", [timedelta(0), timedelta(hours=-1)])
def test_a_deadline_in_the_past_is_refused(period: timedelta) -> None:
    with pytest.raises(Refused, match="is not after the start"):
        worst_case(shape(), RATES, START, START + period, MARGIN)


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(Refused, match="margin is negative"):
        worst_case(shape(), RATES, START, START + MARGIN, -MARGIN)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.1])
@pytest.mark.parametrize(
    "change",
    [
        lambda x: (shape(head=replace(HEAD, on_demand=x)), RATES),
        lambda x: (shape(worker=replace(WORKER, on_demand=x)), RATES),
        lambda x: (shape(worker=replace(WORKER, spot=x)), RATES),
        lambda x: (shape(storage_gb=x), RATES),
        lambda x: (shape(workers=x), RATES),
        lambda x: (shape(), replace(RATES, disk_gb_month=x)),
        lambda x: (shape(), replace(RATES, address_hour=x)),
        lambda x: (shape(), replace(RATES, storage_gb_month=x)),
    ],
)
def test_what_is_no_price_is_refused(change: Any, wrong: float) -> None:
    with pytest.raises(Refused, match="number"):
        worst_case(*change(wrong), START, START + MARGIN, MARGIN)


def test_a_machine_without_a_price_is_refused() -> None:
    with pytest.raises(Refused, match=r"the price of m6a.large is not known"):
        worst_case(shape(head=replace(HEAD, on_demand=0.0)), RATES, START, START + MARGIN, MARGIN)


def test_a_spot_machine_may_become_dearer_by_a_quarter_but_not_than_on_demand() -> None:
    assert spot_ceiling(0.2, 0.526) == pytest.approx(0.25)
    assert spot_ceiling(0.5, 0.526) == 0.526
    assert spot_ceiling(0.526, 0.526) == 0.526
