"""Training, validation and test parts: by class, by seed, and by nothing else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.faults import Fault
from pipelines.formats.base import SplitConfig

Indices = NDArray[np.int64]


def split(
    y: Indices,
    official_test: NDArray[np.bool_] | None,
    config: SplitConfig,
    classes: Sequence[str] | None = None,
) -> dict[str, Indices]:
    """Positions of the examples of each part, ascending int64: every example is in exactly one.

    Each class is shuffled by itself, seeded by (seed, class): its split depends on its own examples alone.
    Each part gets its fraction of each class to within one example, and one example at least.

    Args:
        y: labels, int64 (N,).
        official_test: bool (N,); if given, these are the test part.
        config: seed and fractions.
        classes: names of the labels, for messages; a class without an example is then noticed.

    Returns:
        `train`, `val` and `test`.

    Raises:
        Fault: a class has too few examples for every part to have one; it is named.
    """
    official = official_test
    parts: dict[str, list[Indices]] = {"train": [], "val": [], "test": []}
    for label in np.unique(y) if classes is None else range(len(classes)):
        of_class = y == label
        free = np.flatnonzero(of_class if official is None else of_class & ~official)
        test = np.flatnonzero(of_class & official) if official is not None else free[:0]
        name = str(label) if classes is None else classes[label]
        _enough(name, len(free), len(test), official is not None)
        shuffled = free[_order(len(free), config.seed, int(label))]
        val_count, test_count = _counts(len(free), config.val, None if official is not None else config.test)
        parts["val"].append(shuffled[:val_count])
        parts["test"].append(test if official is not None else shuffled[val_count : val_count + test_count])
        parts["train"].append(shuffled[val_count + test_count :])
    if not parts["train"]:
        raise Fault("there are no examples to split")
    return {name: np.sort(np.concatenate(found)).astype(np.int64) for name, found in parts.items()}


def split_rows(count: int, config: SplitConfig) -> dict[str, Indices]:
    """Positions of the examples of each part, ascending int64, where there are no classes.

    Raises:
        Fault: there are too few examples for every part to have one.
    """
    return split(np.zeros(count, np.int64), None, config, ["all"])


def _enough(name: str, free: int, test: int, official: bool) -> None:
    if official and free >= 2 and not test:
        raise Fault(f"class {name} has no example in the official test set; set `official_test: false`")
    if free < (needed := 2 if official else 3):
        parts = "training and validation" if official else "training, validation and test"
        raise Fault(f"class {name} has {free} examples; {parts} need at least {needed}")


def _order(count: int, seed: int, label: int) -> Indices:
    """A permutation from PCG64's raw output: NumPy keeps that as it is, unlike what is drawn from it."""
    keys = np.random.PCG64(np.random.SeedSequence((seed, label))).random_raw(count)
    return np.argsort(keys, kind="stable").astype(np.int64)


def _counts(count: int, val: float, test: float | None) -> tuple[int, int]:
    """Examples for validation and for testing, at least one each, that leave at least one to train on."""
    least = 0 if test is None else 1
    tests = max(least, round(count * (test or 0)))
    vals = max(1, round(count * val))
    while vals + tests >= count:
        if vals >= tests and vals > 1:
            vals -= 1
        else:
            tests -= 1
    return vals, tests
