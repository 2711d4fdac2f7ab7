"""The lifecycle simulator: in every history the invariants hold, and with a layer taken away they break."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.node import rules
from infra.simulator.histories import main
from infra.simulator.nodes import Layers
from infra.simulator.people import MARGIN, SKEW
from infra.simulator.play import Broken, play
from infra.simulator.world import BUDGETS, KINDS, Happening, History

CALM = History(
    seed=1,
    budget=50.0,
    people=1,
    hours=1.0,
    workers=2,
    price=0.53,
    spot=False,
    platform=False,
    work_hours=10.0,
    interruptions=0.0,
    happenings=(Happening(1, "up"),),
)


def history(*happenings: Any, **values: Any) -> History:
    """A calm history in which this happens: `(minute, kind, ...)`."""
    return replace(CALM, happenings=(*CALM.happenings, *(Happening(*it) for it in happenings)), **values)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Any history; half of what happens is near something else, for that is where races are."""
    people, hours = draw(st.integers(1, 2)), draw(st.floats(0.25, 3))
    happenings = [Happening(draw(st.floats(0, 10)), "up", who) for who in range(draw(st.integers(1, people)))]
    for _ in range(draw(st.integers(0, 10))):
        near = draw(st.sampled_from(happenings)).minute + draw(st.floats(-1, 1))
        minute = max(0.0, near) if draw(st.booleans()) else draw(st.floats(0, 60 * hours + 20))
        kind, who = draw(st.sampled_from(KINDS)), draw(st.integers(0, people - 1))
        happenings.append(Happening(minute, kind, who, draw(st.floats(0, 1))))
    return History(
        seed=draw(st.integers(0, 2**32 - 1)),
        budget=draw(st.sampled_from(BUDGETS) | st.floats(0.3, 20)),
        people=people,
        hours=hours,
        workers=draw(st.integers(1, 4)),
        price=draw(st.sampled_from((0.05, 0.53, 4.0))),
        spot=draw(st.booleans()),
        platform=draw(st.booleans()),
        work_hours=draw(st.floats(0, 10)),
        interruptions=draw(st.sampled_from((0.0, 0.2, 2.0, 10.0))),
        happenings=tuple(happenings),
    )


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_whatever_happens_the_cap_holds_and_nothing_outlives_its_deadline(history: History) -> None:
    verdict = play(history)
    assert verdict.dollars <= history.budget
    assert verdict.latest <= rules.GRACE.total_seconds()


def test_a_calm_history_costs_what_it_should() -> None:
    verdict = play(CALM)
    assert verdict.machines == 3
    # A head for an hour, two workers for what is left of it after the head's set-up, then the grace.
    assert 0.10 + 2 * 0.53 * 0.5 < verdict.dollars < (0.10 + 2 * 0.53) * 1.1
    assert 0 <= verdict.latest <= rules.GRACE.total_seconds()


def test_the_margin_that_is_reserved_covers_the_grace_and_the_clock_of_whoever_launches() -> None:
    assert rules.GRACE + SKEW <= MARGIN
    assert timedelta(minutes=5) == MARGIN, "the least that the settings allow"


# What breaks when a layer is missing: the history that shows it, and the invariant.
MISSING: dict[str, tuple[Layers, History, str]] = {
    "timers": (Layers(timer=False, watchdog_deadline=False), CALM, "past the grace"),
    "an absolute deadline": (Layers(absolute=False), history((59, "worker vanishes")), "past the grace"),
    "workers that miss their head": (Layers(headless=False), history((30, "head vanishes")), "without its head"),
    "reserving at the on-demand price": (
        Layers(on_demand=False),
        history((0, "no spot", 0, 1.0), spot=True),
        "are committed for it",
    ),
    "a ledger that refuses a taken number": (
        Layers(shared_ledger=False),
        history((0.5, "rival up"), people=2, budget=1.5, hours=3.0),
        "are committed of a budget",
    ),
    "patience before somebody else's run is settled": (
        Layers(patient_settling=False),
        history((1 + 25 / 60, "rival down"), people=2),
        "are committed for it",
    ),
}


@pytest.mark.parametrize("layer", MISSING)
def test_without_a_layer_an_invariant_breaks(layer: str) -> None:
    layers, history, invariant = MISSING[layer]
    play(history)
    with pytest.raises(Broken, match=re.escape(invariant)):
        play(history, layers)


@pytest.mark.parametrize("gone", [Layers(timer=False), Layers(watchdog_deadline=False)], ids=["timer", "watchdog"])
def test_each_of_the_two_timers_is_enough_by_itself(gone: Layers) -> None:
    play(CALM, gone)


def test_a_cloud_that_ends_machines_by_itself_is_enough() -> None:
    verdict = play(replace(CALM, platform=True), Layers(timer=False, watchdog_deadline=False))
    assert verdict.latest <= 0.001


# (what happens half an hour after `up`, what it has cost at most when all are off by their rules)
DEATHS = [
    ("head vanishes", 0.75),
    ("monitor dies", 0.75),
    ("driver dies", 0.85),
    ("lose laptop", 1.35),
    ("down", 0.65),
]


@pytest.mark.parametrize(("kind", "most"), DEATHS)
def test_what_a_death_costs(kind: str, most: float) -> None:
    assert play(history((31, kind))).dollars < most


@pytest.mark.parametrize(("kind", "most"), [("set-ups fail", 0.35), ("set-ups hang", 0.75)])
def test_what_set_ups_cost_that_never_come_to_an_end(kind: str, most: float) -> None:
    verdict = play(history((0.5, kind), hours=3.0))
    assert verdict.dollars < most


def test_after_an_extension_the_later_deadline_holds() -> None:
    longer = play(history((30, "extend", 0, 0.5), hours=1.0))
    assert longer.dollars > 1.5 * play(CALM).dollars
    assert longer.latest <= rules.GRACE.total_seconds()
    short = history((30, "extend", 0, 0.5), budget=1.5)
    assert play(short).dollars < 1.5, "the budget does not allow it"


def test_while_the_deadline_cannot_be_read_nodes_keep_to_the_one_they_were_born_with() -> None:
    cut = play(history((30, "extend", 0, 0.5), (40, "outage", 0, 1.0)))
    assert cut.dollars < 1.2 * play(CALM).dollars


def test_the_command_plays_a_thousand_histories_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--histories", "1000"]) == 0
    told = re.match(
        r"1000 histories, \d+ machines, .*: every budget kept; .* (\d+) histories a minute", capsys.readouterr().out
    )
    assert told is not None
    assert int(told[1]) >= 1000, "of processor time"


def test_the_same_seed_is_the_same_history() -> None:
    assert play(CALM) == play(CALM)
