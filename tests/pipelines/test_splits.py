"""A split is complete, disjoint, proportional, and the same for the same seed whatever else there is."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.faults import Fault
from pipelines.formats.base import SplitConfig
from pipelines.formats.splits import split, split_rows

Labels = NDArray[np.int64]
SLOWLY = settings(deadline=None)


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    """Shuffled labels of one to six classes with three examples each at least."""
    counts = draw(st.lists(st.integers(3, 60), min_size=1, max_size=6))
    y = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(draw(st.integers(0, 1000))).permutation(y)


@st.composite
def configs(draw: st.DrawFn) -> SplitConfig:
    val = draw(st.floats(0.01, 0.6))
    return SplitConfig(seed=draw(st.integers(0, 9)), val=val, test=draw(st.floats(0.01, 0.95 - val)))


@SLOWLY
@given(y=labels(), config=configs())
def test_parts_are_disjoint_complete_ascending_and_proportional(y: Labels, config: SplitConfig) -> None:
    parts = split(y, None, config)
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == list(range(len(y)))
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts.values())
    wanted = {"val": config.val, "test": config.test, "train": 1 - config.val - config.test}
    for label in np.unique(y):
        count = int((y == label).sum())
        got = {name: int((y[part] == label).sum()) for name, part in parts.items()}
        assert min(got.values()) >= 1
        if count * min(wanted.values()) >= 1:  # otherwise each part's one example comes first
            assert all(abs(got[name] - count * wanted[name]) <= 1 for name in wanted)


@SLOWLY
@given(y=labels(), config=configs())
def test_the_same_seed_gives_the_same_split(y: Labels, config: SplitConfig) -> None:
    np.random.seed(len(y))
    first, second = split(y, None, config), split(y.copy(), None, config.model_copy(update={"size": 8}))
    assert all(np.array_equal(first[name], second[name]) for name in first)


@SLOWLY
@given(y=labels(), config=configs())
def test_a_class_is_split_by_itself(y: Labels, config: SplitConfig) -> None:
    together = split(y, None, config)
    alone = split(y[y == 0], None, config)
    positions = np.flatnonzero(y == 0)
    for name, part in alone.items():
        assert set(positions[part]) == set(together[name]) & set(positions)


def test_another_seed_gives_another_split() -> None:
    y = np.repeat(np.arange(3), 50)
    parts = [split(y, None, SplitConfig(seed=seed))["train"].tolist() for seed in range(3)]
    assert parts[0] != parts[1] != parts[2]


def test_this_split_is_for_ever() -> None:
    parts = split(np.repeat(np.arange(2), 5), None, SplitConfig(seed=7, val=0.2, test=0.2))
    lists = {name: part.tolist() for name, part in parts.items()}
    assert lists == {"train": [0, 1, 2, 5, 7, 9], "val": [3, 6], "test": [4, 8]}


@SLOWLY
@given(y=labels(), config=configs(), tests=st.integers(1, 5))
def test_an_official_test_set_is_the_test_part(y: Labels, config: SplitConfig, tests: int) -> None:
    classes = len(np.unique(y))
    together = np.concatenate([y, np.tile(np.arange(classes), tests)])
    official = np.arange(len(together)) >= len(y)
    parts = split(together, official, config)
    assert parts["test"].tolist() == np.flatnonzero(official).tolist()
    assert sorted([*parts["train"], *parts["val"]]) == list(range(len(y)))


@pytest.mark.parametrize(
    ("y", "official", "classes", "message"),
    [
        ([0, 0, 0, 1, 1], None, None, "class 1 has 2 examples"),
        ([0, 0, 0, 1, 1], None, ("cat", "dog"), "class dog has 2 examples"),
        ([0, 0, 0], None, ("cat", "dog"), "class dog has 0 examples"),
        ([0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 0, 0], None, "class 1 has no example in the official test set"),
        ([0, 0, 0, 1, 1, 1], [0, 0, 1, 0, 1, 1], None, "class 1 has 1 examples"),
        ([], None, None, "no examples"),
    ],
)
def test_a_class_that_is_too_small_is_named(y: list[int], official: Any, classes: Any, message: str) -> None:
    mask = None if official is None else np.array(official, bool)
    with pytest.raises(Fault, match=message):
        split(np.array(y, np.int64), mask, SplitConfig(), classes)


def test_rows_without_classes_are_split_as_one_class() -> None:
    parts = split_rows(20, SplitConfig(val=0.2, test=0.1))
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 14, "val": 4, "test": 2}
    assert sorted(row for rows in parts.values() for row in rows) == list(range(20))
    with pytest.raises(Fault, match="2 examples"):
        split_rows(2, SplitConfig())
