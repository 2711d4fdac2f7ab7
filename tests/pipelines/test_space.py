"""The search space: what it accepts, and that draws stay within it and depend on the seed alone."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.searching.space import Domain, grid_trials, random_trials

DRAWS = 30
numbers = st.floats(-1e6, 1e6, allow_nan=False)
positive = st.floats(1e-12, 1e9)


def pairs(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    return st.tuples(values, values).map(lambda pair: (min(pair), max(pair))).filter(lambda pair: pair[0] < pair[1])


DOMAINS = st.one_of(
    st.builds(lambda p: Domain(uniform=p), pairs(numbers)),
    st.builds(lambda p: Domain(loguniform=p), pairs(positive)),
    st.builds(lambda p: Domain(int=p), pairs(st.integers(-(10**6), 10**6))),
    st.builds(lambda p: Domain(logint=p), pairs(st.integers(1, 10**9))),
    st.builds(
        lambda v: Domain(choice=tuple(v)),
        st.lists(st.integers() | st.text(max_size=3), min_size=1, unique_by=repr),
    ),
)
SPACES = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), DOMAINS, min_size=1, max_size=4)


@settings(max_examples=200, deadline=None)
@given(DOMAINS, st.integers(0, 2**32 - 1))
def test_every_draw_is_within_its_domain_and_of_its_type(domain: Domain, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(DRAWS):
        value = domain.draw(generator)
        if domain.choice is not None:
            assert value in domain.choice
            continue
        low, high = domain.bounds
        assert low <= value <= high  # type: ignore[operator]
        assert type(value) is (int if domain.kind in ("int", "logint") else float)


@settings(max_examples=50, deadline=None)
@given(SPACES, st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(0, 12))
def test_the_first_trials_are_the_same_however_many_follow(
    space: dict[str, Domain], seed: int, few: int, more: int
) -> None:
    assert random_trials(space, few + more, seed)[:few] == random_trials(space, few, seed)


def test_draws_depend_on_the_seed_and_not_on_the_order_of_the_file() -> None:
    space = {"b": Domain(uniform=(0.0, 1.0)), "a": Domain(int=(1, 1000))}
    turned = dict(reversed(space.items()))
    assert random_trials(space, 5, 0) == random_trials(turned, 5, 0)
    assert random_trials(space, 5, 0) != random_trials(space, 5, 1)


def test_whole_numbers_reach_both_bounds_equally_often() -> None:
    drawn = [trial["n"] for trial in random_trials({"n": Domain(int=(1, 4))}, 4000, 0)]
    counts = [drawn.count(value) for value in (1, 2, 3, 4)]
    assert sum(counts) == 4000
    assert min(counts) > 850


@pytest.mark.parametrize("domain", [Domain(loguniform=(1e-4, 1.0)), Domain(logint=(1, 10_000))])
def test_logarithmic_ranges_give_every_decade_its_share(domain: Domain) -> None:
    drawn = [math.log10(trial["x"]) for trial in random_trials({"x": domain}, 4000, 0)]
    low = math.log10(domain.bounds[0])
    for decade in range(4):
        share = sum(low + decade <= value < low + decade + 1 for value in drawn) / 4000
        assert 0.18 < share < 0.32


def test_a_grid_is_every_combination_in_lexicographic_order() -> None:
    space = {"b": Domain(choice=("x", "y")), "a": Domain(choice=(3, 1, 2))}
    grid = grid_trials(space, 100, 0)
    assert grid == [{"a": a, "b": b} for a in (3, 1, 2) for b in ("x", "y")]
    assert grid_trials(space, 4, 7) == grid[:4]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({}, "give exactly one"),
        ({"uniform": [0.0, 1.0], "int": [1, 2]}, "give exactly one"),
        ({"uniform": [1.0, 1.0]}, "lower bound 1.0 must be below the upper bound 1.0"),
        ({"int": [5, 2]}, "lower bound 5 must be below the upper bound 2"),
        ({"logint": [0, 2]}, "must be above 0"),
        ({"loguniform": [-1.0, 2.0]}, "must be above 0"),
        ({"choice": [1, 1]}, "the same value stands twice"),
        ({"choice": []}, "at least 1 item"),
        ({"choice": [float("nan")]}, "finite"),
        ({"uniform": [0.0, float("inf")]}, "finite"),
        ({"normal": [0.0, 1.0]}, "Extra inputs"),
        ({"uniform": None}, "give exactly one"),
        ({"choice": [[1]]}, "valid"),
    ],
)
def test_a_domain_that_makes_no_sense_is_refused(written: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Domain.model_validate_json(json.dumps(written))


def test_choices_of_different_types_are_different_choices() -> None:
    domain = Domain.model_validate_json('{"choice": [1, 1.0, true, "1"]}')
    assert [type(value) for value in domain.choice or ()] == [int, float, bool, str]


def test_probes_and_text_say_what_was_written() -> None:
    assert Domain(int=(1, 4)).probes == (1, 4)
    assert Domain(choice=("a", 2)).probes == ("a", 2)
    assert Domain(loguniform=(0.1, 1.0)).text == "loguniform: [0.1, 1.0]"
