"""What a model must know of sequences: labelled tokens, series of numbers, running text, pairs of sequences."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from lit_models.specs.base import DataSpec

PADDING, BEGIN, END = 0, 1, 2


@dataclass(frozen=True)
class TokenSpec(DataSpec):
    """Sequences of tokens, a class each. `x` (N, length) int32, padded by 0 on the right, `y` (N,) int64.

    Attributes:
        vocabulary: number of tokens, padding among them; ids run from 0 to vocabulary - 1.
        length: of the longest sequence.
        classes: number of classes.
    """

    form: ClassVar[str] = "tokens"

    vocabulary: int
    length: int
    classes: int

    def __post_init__(self) -> None:
        """Refuse numbers that no network could be built on.

        Raises:
            ValueError: naming the field that is wrong.
        """
        _at_least(1, length=self.length, classes=self.classes)
        _at_least(2, vocabulary=self.vocabulary)

    @classmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take vocabulary (a number, or all its tokens), length and the names of the classes from the card."""
        del folder
        return cls(_count(card["vocabulary"]), int(card["length"]), len(card["classes"]))

    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Make empty sequences (count, length) int32 and labels (count,) int64."""
        return torch.zeros(count, self.length, dtype=torch.int32), torch.zeros(count, dtype=torch.int64)

    def fault(self, x: Tensor, y: Tensor) -> str:
        """Want int32 tokens of the vocabulary and a label each."""
        if x.dtype != torch.int32 or x.shape[1:] != (self.length,) or y.dtype != torch.int64 or y.shape != x.shape[:1]:
            return f"must hold x (N, {self.length}) int32 and y (N,) int64"
        return _outside("x", x, self.vocabulary) or _outside("y", y, self.classes)


@dataclass(frozen=True)
class SeriesSpec(DataSpec):
    """Series of numbers, and numbers to be told from them. `x` (N, length, features), `y` (N, targets), float32.

    A network sees `(x - mean) / std`, feature by feature, and is trained to `(y - target_mean) / target_std`.

    Attributes:
        length: steps of each series.
        features: numbers a step.
        targets: numbers to be told.
        mean: of each feature over the training set.
        std: standard deviation of each feature, positive.
        target_mean: of each target over the training set.
        target_std: standard deviation of each target, positive.
        tolerance: an error up to this is a hit, in the targets' units.
        classes: 0, for a target is a number.
    """

    form: ClassVar[str] = "series"

    length: int
    features: int
    targets: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    target_mean: tuple[float, ...]
    target_std: tuple[float, ...]
    tolerance: float
    classes: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that no network could be built on.

        Raises:
            ValueError: naming the field that is wrong.
        """
        _at_least(1, length=self.length, features=self.features, targets=self.targets)
        for name, expected in (("mean", self.features), ("target_mean", self.targets)):
            for field in (name, name.replace("mean", "std")):
                values = getattr(self, field)
                if len(values) != expected:
                    raise ValueError(f"{field} has {len(values)} values and must have {expected}")
        if min(*self.std, *self.target_std) <= 0:
            raise ValueError("std and target_std must be positive")
        if self.tolerance < 0 or self.classes:
            raise ValueError("tolerance must be at least 0, and classes must be 0")

    @classmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take all from the card; features and targets may be numbers or names."""
        del folder
        return cls(
            length=int(card["length"]),
            features=_count(card["features"]),
            targets=_count(card["targets"]),
            mean=_numbers(card["mean"]),
            std=_numbers(card["std"]),
            target_mean=_numbers(card["target_mean"]),
            target_std=_numbers(card["target_std"]),
            tolerance=float(card["tolerance"]),
        )

    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Make series (count, length, features) and targets (count, targets), float32, all zero."""
        sizes = (count, self.length, self.features), (count, self.targets)
        x, y = (torch.zeros(size, dtype=torch.float32) for size in sizes)
        return x, y

    def fault(self, x: Tensor, y: Tensor) -> str:
        """Want float32 series and targets, all finite."""
        expected = (len(x), self.length, self.features), (len(x), self.targets)
        if {x.dtype, y.dtype} != {torch.float32} or (x.shape, y.shape) != expected:
            return f"must hold x (N, {self.length}, {self.features}) float32 and y (N, {self.targets}) float32"
        return "" if bool(x.isfinite().all() and y.isfinite().all()) else "must hold finite numbers alone"


@dataclass(frozen=True)
class TextSpec(DataSpec):
    """Windows of running text, and the same windows one token on. `x` and `y` (N, length), int32.

    Attributes:
        vocabulary: number of tokens.
        length: tokens of a window.
        bytes_per_token: how many bytes of text a token stands for on average, by which bits per byte are reckoned.
        classes: 0, for each window has many targets.
    """

    form: ClassVar[str] = "text"

    vocabulary: int
    length: int
    bytes_per_token: float
    classes: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that no network could be built on.

        Raises:
            ValueError: naming the field that is wrong.
        """
        _at_least(1, length=self.length)
        _at_least(2, vocabulary=self.vocabulary)
        if self.bytes_per_token <= 0 or self.classes:
            raise ValueError("bytes_per_token must be positive, and classes must be 0")

    @classmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take vocabulary (a number, or all its tokens), length and bytes_per_token from the card."""
        del folder
        return cls(_count(card["vocabulary"]), int(card["length"]), float(card["bytes_per_token"]))

    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Make windows (count, length) int32 of the first token, twice."""
        return (
            torch.zeros(count, self.length, dtype=torch.int32),
            torch.zeros(count, self.length, dtype=torch.int32),
        )

    def fault(self, x: Tensor, y: Tensor) -> str:
        """Want int32 tokens of the vocabulary, as many in each window of `y` as in `x`."""
        if x.dtype != torch.int32 or y.dtype != torch.int32 or x.shape[1:] != (self.length,) or y.shape != x.shape:
            return f"must hold x (N, {self.length}) int32 and y (N, {self.length}) int32"
        return _outside("x", x, self.vocabulary) or _outside("y", y, self.vocabulary)


@dataclass(frozen=True)
class PairSpec(DataSpec):
    """Pairs of sequences. `x` (N, source_length) and `y` (N, target_length), int32, padded by 0 on the right.

    The id 1 begins a target and 2 ends it.

    Attributes:
        source_vocabulary: number of tokens of `x`, padding among them.
        target_vocabulary: number of tokens of `y`, padding, begin and end among them.
        source_length: of the longest source.
        target_length: of the longest target, begin and end included.
        classes: 0, for a target is a sequence.
    """

    form: ClassVar[str] = "pairs"

    source_vocabulary: int
    target_vocabulary: int
    source_length: int
    target_length: int
    classes: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that no network could be built on.

        Raises:
            ValueError: naming the field that is wrong.
        """
        _at_least(1, source_length=self.source_length)
        _at_least(2, source_vocabulary=self.source_vocabulary, target_length=self.target_length)
        _at_least(END + 1, target_vocabulary=self.target_vocabulary)
        if self.classes:
            raise ValueError("classes must be 0")

    @classmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take vocabularies (numbers, or all their tokens) and lengths from the card."""
        del folder
        vocabularies = _count(card["source_vocabulary"]), _count(card["target_vocabulary"])
        return cls(*vocabularies, int(card["source_length"]), int(card["target_length"]))

    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Make empty sources (count, source_length) and targets (count, target_length), int32."""
        return (
            torch.zeros(count, self.source_length, dtype=torch.int32),
            torch.zeros(count, self.target_length, dtype=torch.int32),
        )

    def fault(self, x: Tensor, y: Tensor) -> str:
        """Want int32 tokens of either vocabulary."""
        expected = (len(x), self.source_length), (len(x), self.target_length)
        if x.dtype != torch.int32 or y.dtype != torch.int32 or (x.shape, y.shape) != expected:
            return f"must hold x (N, {self.source_length}) int32 and y (N, {self.target_length}) int32"
        return _outside("x", x, self.source_vocabulary) or _outside("y", y, self.target_vocabulary)


def _count(value: Any) -> int:
    """A number as it is, or the number of a list's entries."""
    return len(value) if isinstance(value, list) else int(value)


def _numbers(values: list[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _at_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name} must be at least {least}, not {number}")


def _outside(name: str, ids: Tensor, count: int) -> str:
    """Say that ids are none of 0 .. count - 1; nothing if all are."""
    if not ids.numel() or (int(ids.min()) >= 0 and int(ids.max()) < count):
        return ""
    return f"must hold {name} from 0 to {count - 1}, not from {int(ids.min())} to {int(ids.max())}"
