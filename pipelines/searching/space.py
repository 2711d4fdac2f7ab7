"""The search space as params.yaml writes it, and how trials are drawn from it.

lr: {loguniform: [0.0003, 0.03]}
width: {int: [8, 64]}
optimizer: {choice: [adamw, momentum]}
"""

import itertools
import math
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
from pydantic import Field, model_validator

from pipelines.section import Section

Value: TypeAlias = bool | int | float | str
Bounds: TypeAlias = tuple[float, float]
IntBounds: TypeAlias = tuple[int, int]
Kind: TypeAlias = Literal["choice", "uniform", "loguniform", "int", "logint"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Domain(Section):
    """The values that one hyperparameter may take: exactly one of the five kinds. Both bounds are included."""

    choice: tuple[Value, ...] | None = Field(default=None, min_length=1, description="one of these values")
    uniform: Bounds | None = Field(default=None, description="[low, high], any number between")
    loguniform: Bounds | None = Field(default=None, description="[low, high] above 0, uniform in the logarithm")
    int: IntBounds | None = Field(default=None, description="[low, high], whole numbers")
    logint: IntBounds | None = Field(default=None, description="[low, high] above 0, whole, uniform in the logarithm")

    @model_validator(mode="after")
    def _one_kind_in_order(self) -> Self:
        given = self.model_fields_set
        if len(given) != 1 or getattr(self, self.kind) is None:
            raise ValueError("give exactly one of choice, uniform, loguniform, int, logint")
        if self.choice is None:
            low, high = self.bounds
            if low >= high:
                raise ValueError(f"the lower bound {low} must be below the upper bound {high}")
            if self.kind in ("loguniform", "logint") and low <= 0:
                raise ValueError(f"the lower bound {low} must be above 0 for a logarithmic range")
        elif len(set(map(repr, self.choice))) != len(self.choice):
            raise ValueError("the same value stands twice")
        return self

    @property
    def kind(self) -> Kind:
        """The one kind that is given."""
        return next(kind for kind in KINDS if kind in self.model_fields_set)

    @property
    def bounds(self) -> Bounds:
        """Lower and upper bound of a range; not for `choice`."""
        bounds: Bounds = getattr(self, self.kind)
        return bounds

    @property
    def probes(self) -> tuple[Value, ...]:
        """Values that stand for the whole domain when it is validated: every choice, or both ends."""
        return self.choice if self.choice is not None else self.bounds

    @property
    def text(self) -> str:
        """As params.yaml writes it."""
        return f"{self.kind}: {list(self.probes)}"

    def draw(self, generator: np.random.Generator) -> Value:
        """Draw one value."""
        if self.choice is not None:
            return self.choice[int(generator.integers(len(self.choice)))]
        low, high = self.bounds
        if self.kind == "uniform":
            return float(generator.uniform(low, high))
        if self.kind == "loguniform":
            # exp(log(x)) may fall outside by one rounding.
            return float(min(max(math.exp(generator.uniform(math.log(low), math.log(high))), low), high))
        if self.kind == "int":
            return int(generator.integers(int(low), int(high), endpoint=True))
        drawn = round(math.exp(generator.uniform(math.log(low - 0.5), math.log(high + 0.5))))
        return int(min(max(drawn, low), high))


Space: TypeAlias = dict[str, Domain]


def random_trials(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """Draw `trials` configurations; the first n are the same whatever `trials` is (Bergstra & Bengio, 2012)."""
    generator = np.random.default_rng(seed)
    return [{name: space[name].draw(generator) for name in sorted(space)} for _ in range(trials)]


def grid_trials(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """Every combination of the choices in lexicographic order, at most `trials` of them; `seed` changes nothing."""
    names = sorted(space)
    combinations = itertools.product(*(space[name].choice or () for name in names))
    return [dict(zip(names, values, strict=True)) for values in itertools.islice(combinations, trials)]
