"""Which lanes of a cohort go on: each rule by hand, and what holds for all of them."""

import json
import math
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit_models.cohort.population import Copy, exploits
from lit_models.cohort.rules import RULES, Bracket, Rank, RuleSpec, brackets, ranking, rungs, survivors

NAN, INF = math.nan, math.inf
SPACE = {"lr": (0.001, 0.1, True), "dropout": (0.0, 0.5, False)}

every_rule = pytest.mark.parametrize("name", sorted(RULES))
Lanes = dict[int, list[Rank]]


def after_one(*firsts: float) -> Lanes:
    """Ranks of lanes 0, 1, … after their first epoch."""
    return {lane: [(first, 0.0)] for lane, first in enumerate(firsts)}


def spec(name: str, **settings: Any) -> RuleSpec:
    """A rule that decides after epochs 1 and 3 of 9."""
    return RuleSpec(**{"name": name, "epochs": 9, "rungs": (1, 3), "interval": 1, "space": SPACE, **settings})


def backwards(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    return dict(reversed(mapping.items()))


# Few values, so that ties are common; and what diverged lanes report.
numbers = st.sampled_from([-1.0, -0.5, 0.0, 0.1, 0.2, 0.3, 2.0, INF, NAN]) | st.floats(-10, 10)
ranks_of_one = st.tuples(numbers, numbers)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[int, Lanes, list[int]]:
    """(epoch, ranks, alive): some lanes dropped out, at this epoch or before."""
    epoch = draw(st.integers(1, 9))
    ids = draw(st.lists(st.integers(0, 99), min_size=1, max_size=24, unique=True))
    lanes, alive = {}, []
    for lane in ids:
        ran = draw(st.sampled_from([epoch] * 4 + [0, epoch - 1]))
        lanes[lane] = draw(st.lists(ranks_of_one, min_size=ran, max_size=ran))
        if ran == epoch and draw(st.sampled_from([True] * 5 + [False])):
            alive.append(lane)
    return epoch, lanes, alive


specs = st.builds(
    lambda name, eta, grace, interval, seed: spec(name, eta=eta, grace=grace, interval=interval, seed=seed),
    st.sampled_from(sorted(RULES)),
    st.integers(2, 5),
    st.integers(1, 9),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
)


# --- all rules


@given(specs, cohorts())
def test_some_of_the_living_go_on(rule: RuleSpec, cohort: tuple[int, Lanes, list[int]]) -> None:
    epoch, ranks, alive = cohort
    left = survivors(rule, epoch, ranks, alive)
    assert list(left) == sorted(set(left))
    assert set(left) <= set(alive)
    assert bool(left) == bool(alive)
    if epoch == rule.epochs:
        assert set(left) == set(alive)


@given(specs, cohorts(), st.randoms(use_true_random=False))
def test_order_decides_nothing(rule: RuleSpec, cohort: tuple[int, Lanes, list[int]], random: Any) -> None:
    epoch, ranks, alive = cohort
    entries, shuffled = list(ranks.items()), list(alive)
    random.shuffle(entries)
    random.shuffle(shuffled)
    assert survivors(rule, epoch, ranks, alive) == survivors(rule, epoch, dict(entries), shuffled)
    assert survivors(rule, epoch, ranks, alive) == survivors(rule, epoch, ranks, set(alive))


@given(specs, cohorts(), ranks_of_one)
def test_the_future_decides_nothing(rule: RuleSpec, cohort: tuple[int, Lanes, list[int]], later: Rank) -> None:
    epoch, ranks, alive = cohort
    longer = {lane: [*run, later] if len(run) == epoch else run for lane, run in ranks.items()}
    assert survivors(rule, epoch, ranks, alive) == survivors(rule, epoch, longer, alive)


@given(specs, cohorts())
def test_the_best_goes_on(rule: RuleSpec, cohort: tuple[int, Lanes, list[int]]) -> None:
    epoch, ranks, alive = cohort
    left = survivors(rule, epoch, ranks, alive)
    if alive and rule.name == "median":
        so_far = {lane: [tuple(INF if math.isnan(n) else n for n in rank) for rank in ranks[lane]] for lane in alive}
        assert min(alive, key=lambda lane: (min(so_far[lane]), lane)) in left
    elif alive:
        assert ranking(epoch, ranks, alive)[0] in left


@every_rule
def test_nobody_is_left_of_nobody(name: str) -> None:
    assert survivors(spec(name), 1, after_one(0.1, 0.2), []) == ()


@every_rule
def test_one_alone_goes_on(name: str) -> None:
    ranks = {4: [(NAN, NAN)], 7: []}
    assert survivors(spec(name), 1, ranks, {4}) == (4,)


@pytest.mark.parametrize("name", ["halving", "asha", "median"])
def test_who_is_alive_has_run(name: str) -> None:
    for ranks in ({0: [(0.1, 0.0)], 1: []}, after_one(0.1)):
        with pytest.raises(ValueError, match="lane 1 has no rank for epoch 1"):
            survivors(spec(name), 1, ranks, {0, 1})


def test_ranking_breaks_ties_by_id_and_puts_nan_last() -> None:
    ranks = {5: [(0.1, 0.2)], 3: [(0.1, 0.2)], 9: [(0.1, 0.1)], 1: [(NAN, 0.0)], 2: [(INF, -1.0)]}
    assert ranking(1, ranks, ranks) == [9, 3, 5, 2, 1]


@pytest.mark.parametrize("name", ["none", "pbt"])
def test_none_and_pbt_stop_nobody(name: str) -> None:
    assert survivors(spec(name), 1, after_one(0.3, 0.1, 0.2, NAN), [3, 1, 2, 0]) == (0, 1, 2, 3)


# --- halving


def test_halving_keeps_a_third_and_a_ninth() -> None:
    ranks = after_one(0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.5)
    assert survivors(spec("halving"), 1, ranks, range(9)) == (1, 3, 5)
    for lane, first in {1: 0.3, 3: 0.2, 5: 0.1}.items():
        ranks[lane] += [(0.0, 0.0), (first, 0.0)]  # just the latest epoch counts
    assert survivors(spec("halving"), 2, ranks, (1, 3, 5)) == (1, 3, 5)
    assert survivors(spec("halving"), 3, ranks, (1, 3, 5)) == (5,)


def test_halving_counts_those_that_started() -> None:
    ranks = {**after_one(0.3, 0.1, 0.2), 3: [], 4: [], 5: []}
    assert survivors(spec("halving"), 1, ranks, (0, 1, 2)) == (1, 2)
    assert survivors(spec("halving"), 1, ranks, (0,)) == (0,)


def test_halving_rounds_down_to_one_at_least() -> None:
    assert survivors(spec("halving"), 1, after_one(0.3, 0.1), (0, 1)) == (1,)
    assert survivors(spec("halving"), 1, after_one(0.4, 0.3, 0.2, 0.1, 0.5), range(5)) == (3,)
    assert survivors(spec("halving", eta=2), 1, after_one(0.4, 0.3, 0.2, 0.1, 0.5), range(5)) == (2, 3)


def test_halving_keeps_the_lower_id_of_equals() -> None:
    assert survivors(spec("halving"), 1, after_one(*[0.5] * 7), range(7)) == (0, 1)


@given(cohorts(), st.data())
def test_a_better_rank_never_costs_a_place(cohort: tuple[int, Lanes, list[int]], data: st.DataObject) -> None:
    _, ranks, alive = cohort
    rule = spec("halving", eta=2)
    left = survivors(rule, 1, ranks, [lane for lane in alive if ranks[lane]])
    if not left:
        return
    lane = data.draw(st.sampled_from(left))
    first, second = ranks[lane][0]
    better = data.draw(st.sampled_from([(first - 1, second), (first, second - 1), (-99.0, NAN)]))
    now = {**ranks, lane: [better, *ranks[lane][1:]]}
    assert lane in survivors(rule, 1, now, [lane for lane in alive if ranks[lane]])


# --- asha


def test_asha_by_hand() -> None:
    # m and how many of them go on: 1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 3.
    ranks = after_one(0.5, 0.6, 0.4, 0.45, 0.48, 0.1, 0.44)
    # 0 is first; 1 is second of 2; 2 leads; 3 is second of 4; 4 is third of 5; 5 leads; 6 is third of 7.
    assert survivors(spec("asha"), 1, ranks, range(7)) == (0, 2, 3, 5, 6)


def test_asha_stops_the_later_of_equals() -> None:
    assert survivors(spec("asha"), 1, after_one(*[0.5] * 5), range(5)) == (0,)


def test_asha_decides_at_rungs_alone() -> None:
    ranks = {0: [(0.1, 0.0)] * 3, 1: [(0.2, 0.0)] * 3, 2: [(0.3, 0.0)]}
    assert survivors(spec("asha"), 2, ranks, (0, 1)) == (0, 1)
    assert survivors(spec("asha"), 3, ranks, (0, 1)) == (0,)


def test_asha_counts_those_that_have_left_since_and_still_keeps_one() -> None:
    assert survivors(spec("asha"), 1, after_one(0.1, 0.3, 0.2), (1, 2)) == (2,)


# --- median


def test_median_compares_the_best_with_the_means_of_others() -> None:
    ranks = {
        0: [(0.9, 0.0), (0.5, 0.0)],  # best 0.5; the others' means are 0.4, 0.3, 0.6, their median 0.4: stopped
        1: [(0.5, 0.0), (0.3, 0.0)],  # best 0.3; 0.7, 0.3, 0.6: goes on
        2: [(0.2, 0.0), (0.4, 0.0)],  # the best of all
        3: [(0.4, 0.0), (0.8, 0.0)],  # best 0.4, of the first epoch; 0.7, 0.4, 0.3: no worse than 0.4
    }
    assert survivors(spec("median"), 2, ranks, range(4)) == (1, 2, 3)


def test_median_waits_for_grace() -> None:
    ranks = {lane: [(lane / 10, 0.0)] * 3 for lane in range(5)}
    assert survivors(spec("median", grace=3), 2, ranks, range(5)) == (0, 1, 2, 3, 4)
    # Others' medians are 0.25, 0.25, 0.2, 0.15, 0.15.
    assert survivors(spec("median", grace=3), 3, ranks, range(5)) == (0, 1, 2)


def test_median_needs_three_others() -> None:
    assert survivors(spec("median"), 1, after_one(0.1, 0.2, 0.9), range(3)) == (0, 1, 2)
    ranks = {**after_one(0.1, 0.2, 0.9), 3: []}
    assert survivors(spec("median"), 1, ranks, range(3)) == (0, 1, 2)
    # A lane that has run this far counts, alive or not.
    assert survivors(spec("median"), 1, after_one(0.1, 0.2, 0.9, 0.3), range(3)) == (0, 1)


def test_median_spares_the_best_of_the_living() -> None:
    ranks = after_one(0.1, 0.1, 0.1, 0.8, 0.9)
    assert survivors(spec("median"), 1, ranks, (3, 4)) == (3,)


@given(st.integers(4, 9), st.floats(-10, 10), st.integers(1, 8))
def test_median_stops_none_of_equals(lanes: int, number: float, epoch: int) -> None:
    """Not even by the rounding of a mean."""
    ranks = {lane: [(number, 0.0)] * epoch for lane in range(lanes)}
    assert survivors(spec("median"), epoch, ranks, range(lanes)) == tuple(range(lanes))


# --- Hyperband


def test_rungs() -> None:
    assert rungs(81, 3, 1) == (1, 3, 9, 27)
    assert rungs(82, 3, 1) == (1, 3, 9, 27, 81)
    assert rungs(20, 2, 3) == (3, 6, 12)
    assert rungs(1, 3, 1) == rungs(5, 3, 5) == ()


def test_brackets_have_the_numbers_of_hyperband() -> None:
    # Li et al. 2018, algorithm 1 with R = 81, eta = 3.
    assert brackets(81 + 34 + 15 + 8 + 5, 81, 3, 1) == [
        Bracket(81, (1, 3, 9, 27)),
        Bracket(34, (3, 9, 27)),
        Bracket(15, (9, 27)),
        Bracket(8, (27,)),
        Bracket(5, ()),
    ]


def test_brackets_share_by_largest_remainder() -> None:
    # n_s = 9, 5, 3. Of 10: 5.29, 2.94, 1.76.
    assert [bracket.trials for bracket in brackets(10, 9, 3, 1)] == [5, 3, 2]
    # Of 1: 0.53, 0.29, 0.18. Those that get none are not there.
    assert brackets(1, 9, 3, 1) == [Bracket(1, (1, 3))]
    assert brackets(7, 1, 3, 1) == [Bracket(7, ())]


@given(st.integers(1, 500), st.integers(1, 200), st.integers(2, 6), st.integers(1, 20))
def test_brackets_hold_all_trials(trials: int, epochs: int, eta: int, grace: int) -> None:
    found = brackets(trials, epochs, eta, grace)
    assert sum(bracket.trials for bracket in found) == trials
    assert all(bracket.trials > 0 for bracket in found)
    every = rungs(epochs, eta, grace)
    assert all(bracket.rungs == every[len(every) - len(bracket.rungs) :] for bracket in found)
    lengths = [len(bracket.rungs) for bracket in found]
    assert lengths == sorted(set(lengths), reverse=True)
    for bracket in found:
        RuleSpec(name="halving", epochs=epochs, eta=eta, rungs=bracket.rungs)


@pytest.mark.parametrize("arguments", [(0, 9, 3, 1), (4, 0, 3, 1), (4, 9, 1, 1), (4, 9, 3, 0)])
def test_brackets_refuse(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        brackets(*arguments)


# --- PBT


def hyperparameters(lanes: Lanes) -> dict[int, dict[str, float]]:
    return {lane: {"lr": 0.01, "dropout": 0.25, "momentum": 0.9} for lane in lanes}


def test_the_worst_quarter_copies_from_the_best() -> None:
    ranks = after_one(0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    copies = exploits(spec("pbt"), 1, ranks, range(8), hyperparameters(ranks))
    assert list(copies) == [0, 1]
    for copy in copies.values():
        assert copy.source in (6, 7)
        assert list(copy.changes) == ["dropout", "lr"]
        assert copy.changes["lr"] in (pytest.approx(0.008), pytest.approx(0.0125))
        assert copy.changes["dropout"] in (pytest.approx(0.15), pytest.approx(0.35))


def test_all_of_the_best_and_both_ways_are_drawn() -> None:
    ranks = after_one(*[lane / 10 for lane in range(12)])
    values = hyperparameters(ranks)
    seen = [exploits(spec("pbt", seed=seed), 1, ranks, range(12), values)[11] for seed in range(60)]
    assert {copy.source for copy in seen} == {0, 1, 2}
    ways = {(copy.changes["lr"] > 0.01, copy.changes["dropout"] > 0.25) for copy in seen}
    assert len(ways) == 4


def test_changes_start_from_the_source() -> None:
    ranks = after_one(0.1, 0.2)
    values = {0: {"lr": 0.09, "dropout": 0.45}, 1: {"lr": 0.002, "dropout": 0.1}}
    found = {exploits(spec("pbt", seed=seed), 1, ranks, (0, 1), values)[1].changes["lr"] for seed in range(20)}
    assert found == {0.09 * 0.8, 0.1}  # 0.1125 is out of bounds


@pytest.mark.parametrize(
    ("lanes", "copied"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (7, 1), (8, 2), (11, 2), (12, 3)]
)
def test_how_many_are_copied(lanes: int, copied: int) -> None:
    ranks = after_one(*map(float, range(lanes)))
    assert len(exploits(spec("pbt"), 1, ranks, range(lanes), hyperparameters(ranks))) == copied


def test_when_lanes_are_copied() -> None:
    ranks = {lane: [(float(lane), 0.0)] * 9 for lane in range(4)}
    values = hyperparameters(ranks)

    def epochs(rule: RuleSpec) -> list[int]:
        return [epoch for epoch in range(1, 10) if exploits(rule, epoch, ranks, range(4), values)]

    assert epochs(spec("pbt", interval=3)) == [3, 6]
    assert epochs(spec("pbt", interval=1)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert epochs(spec("pbt", interval=0)) == []
    assert epochs(spec("asha")) == []


def test_a_lane_that_has_not_run_cannot_be_copied() -> None:
    with pytest.raises(ValueError, match="lane 1 has no rank for epoch 1"):
        exploits(spec("pbt"), 1, {0: [(0.1, 0.0)], 1: []}, {0, 1}, {})


@given(cohorts(), st.integers(0, 2**32 - 1), st.data())
def test_copies_stay_within_bounds_and_go_downhill(
    cohort: tuple[int, Lanes, list[int]], seed: int, data: st.DataObject
) -> None:
    epoch, ranks, alive = cohort
    rule = spec("pbt", seed=seed)
    inside = st.fixed_dictionaries({name: st.floats(low, high) for name, (low, high, _) in SPACE.items()})
    values = {lane: data.draw(inside) for lane in alive}
    copies = exploits(rule, epoch, ranks, alive, values)
    order = ranking(epoch, ranks, alive)
    count = max(1, len(order) // 4)
    if copies:
        assert list(copies) == sorted(order[-count:])
    for copy in copies.values():
        assert copy.source in order[:count]
        assert set(copy.changes) == set(SPACE)
        for name, (low, high, _) in SPACE.items():
            assert low <= copy.changes[name] <= high
    turned = spec("pbt", seed=seed, space=backwards(SPACE))
    mirrored = {lane: backwards(mine) for lane, mine in backwards(values).items()}
    again = exploits(turned, epoch, backwards(ranks), alive[::-1], mirrored)
    assert list(again.items()) == list(copies.items())


def test_a_copy_depends_on_its_own_lane_alone() -> None:
    """Who else is in the worst quarter changes nothing in what a lane draws."""
    ranks = after_one(0.1, 0.2, 0.7, 0.6, 0.3, 0.4, 0.5, 0.8)
    values = hyperparameters(ranks)
    other = {**ranks, 2: [(0.45, 0.0)]}  # 3 is in the worst quarter in its place
    one, two = (exploits(spec("pbt"), 1, now, range(8), values) for now in (ranks, other))
    assert (list(one), list(two)) == ([2, 7], [3, 7])
    assert one[7] == two[7]


def test_a_copy_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Copy(0, {}).source = 1  # type: ignore[misc]


# --- RuleSpec


@given(specs)
def test_json_round_trip(rule: RuleSpec) -> None:
    again = RuleSpec(**json.loads(json.dumps(asdict(rule))))
    assert again == rule
    assert asdict(again) == asdict(rule)
    assert hash(again) == hash(rule)
    assert isinstance(again.rungs, tuple)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"name": "ahsa"}, "there is no rule 'ahsa'; the rules are none, halving, asha, median, pbt"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"eta": 1}, "eta must be at least 2, not 1"),
        ({"grace": 0}, "grace must be at least 1, not 0"),
        ({"interval": -1}, "interval must be at least 0, not -1"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"rungs": [3, 1]}, r"rungs must ascend, not \[3, 1\]"),
        ({"rungs": [3, 3]}, r"rungs must ascend, not \[3, 3\]"),
        ({"rungs": [0, 3]}, r"rungs must be from 1 to below epochs \(9\), not \[0, 3\]"),
        ({"rungs": [3, 9]}, r"rungs must be from 1 to below epochs \(9\), not \[3, 9\]"),
        ({"space": {"lr": (0.1, 0.01, False)}}, "the bounds of lr must be finite and ascending, not 0.1 and 0.01"),
        ({"space": {"lr": (0, 0.1, True)}}, "the bounds of lr must be positive, finite and ascending, not 0.0 and 0.1"),
        ({"space": {"lr": (0, INF, False)}}, "the bounds of lr must be finite and ascending, not 0.0 and inf"),
    ],
)
def test_refusals(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        RuleSpec(**{"epochs": 9, **settings})


def test_defaults_stop_nobody() -> None:
    rule = RuleSpec(epochs=3)
    assert (rule.name, rule.eta, rule.rungs, rule.grace, rule.interval, rule.seed, rule.space) == (
        "none", 3, (), 1, 0, 0, {},
    )  # fmt: skip
