"""`fifty plan --simulate`: what a search is expected to cost and to take."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra import plan, prices
from infra.ledger import Ledger
from infra.settings import CloudConfig
from infra.simulator.people import RATES, shape_of
from infra.simulator.plan import draw, lines
from infra.simulator.search import NODES, Circumstances, Row, Work, simulate_table

SHAPE = shape_of(1, spot=True)
SURE = Circumstances(interruptions=0.0, no_spot=0.0)
PNG = b"\x89PNG\r\n\x1a\n"


def one(nodes: int, work: Work, circumstances: Circumstances = SURE, *, spot: bool = False, repeats: int = 5) -> Row:
    rows = simulate_table(SHAPE, RATES, work, circumstances, (nodes,), repeats=repeats)
    return next(row for row in rows if row.spot == spot)


def test_without_chance_it_is_what_one_reckons_by_hand() -> None:
    row = one(2, Work(trials=8, hours=1.0, spread=0.0))
    setup = 10 / 60
    assert row.hours == pytest.approx(setup + setup + 4)
    besides = 60 * 0.08 / 672 + 0.005
    head, workers = row.hours * (0.10 + besides), 2 * (setup + 4) * (0.53 + besides)
    assert row.dollars == pytest.approx(head + workers)
    assert (row.interruptions, row.repeated) == (0, 0)
    assert row.dollars < row.reserved


def test_more_workers_are_faster_and_idle_ones_are_let_go() -> None:
    few, many, idle = (one(number, Work(trials=100, hours=0.5)) for number in (1, 100, 1000))
    assert many.hours < few.hours / 20
    assert idle.dollars < 1.5 * many.dollars, "no more machines than trials"


def test_spot_is_cheaper_and_interruptions_cost_time_and_work() -> None:
    work = Work(trials=50, hours=1.0)
    sure, taken = one(10, work, spot=True), one(10, work, replace(SURE, interruptions=0.5), spot=True)
    assert sure.dollars < one(10, work).dollars / 2
    assert taken.interruptions > 5
    assert 0 < taken.repeated < taken.interruptions * 5 / 60
    assert taken.hours > sure.hours
    assert taken.dollars > sure.dollars
    scarce = one(10, work, replace(SURE, no_spot=1.0), spot=True)
    assert scarce.dollars == pytest.approx(one(10, work).dollars, rel=0.05)


def test_a_machine_without_a_spot_price_has_no_spot_rows() -> None:
    shape = replace(SHAPE, worker=replace(SHAPE.worker, spot=None))
    rows = simulate_table(shape, RATES, Work(trials=5), repeats=1)
    assert [row.nodes for row in rows] == list(NODES)
    assert not any(row.spot for row in rows)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.floats(0.01, 3), st.sampled_from((0.0, 0.05, 1.0)), st.floats(0, 1))
def test_all_work_is_done_and_paid(nodes: int, trials: int, hours: float, rate: float, none: float) -> None:
    circumstances = Circumstances(interruptions=rate, no_spot=none)
    for row in simulate_table(SHAPE, RATES, Work(trials, hours, 0.0), circumstances, (nodes,), repeats=2):
        least = trials * hours * (0.53 / 3 if row.spot else 0.53) + row.hours * 0.10
        assert row.dollars >= least
        assert row.hours >= 2 / 6 + trials * hours / nodes - 1e-6
        assert row.hours <= row.hours_late + 1e-9 or rate
        assert rate or row.dollars <= row.reserved


def test_the_plan_shows_table_and_picture(tmp_path: Path) -> None:
    offered = prices.offers("aws", "us-east-1")
    planned = plan.make("aws", CloudConfig(), offered, Ledger([]), datetime(2026, 11, 26, tzinfo=UTC))
    told = "\n".join(lines(planned, tmp_path / "plan.png", Work(trials=20, hours=0.5)))
    assert "a search of 20 trials of 30 minutes each on " in told
    assert told.count("on-demand") > 10
    assert "1000  spot" in told
    assert "cloud.workers:" in told
    assert (tmp_path / "plan-aws.png").read_bytes().startswith(PNG)
    poor = replace(planned, left=0.01)
    assert "too little" in "\n".join(lines(poor, tmp_path / "plan.png", Work(trials=20, hours=0.5)))


def test_a_picture_without_spot_or_limits(tmp_path: Path) -> None:
    rows = [row for row in simulate_table(SHAPE, RATES, Work(trials=5), nodes=(1, 2), repeats=1) if not row.spot]
    draw(rows, tmp_path / "new" / "plain.png")
    assert (tmp_path / "new" / "plain.png").read_bytes().startswith(PNG)
