"""Cohorts of tiny models on tiny data, for proofs in float64."""

from typing import Any

import torch

from lit_models import FAMILIES
from lit_models.cohort.data import CohortData
from lit_models.cohort.engine import Engine, Setting
from lit_models.cohort.lanes import Lane
from lit_models.spec import DataSpec

SPEC = DataSpec(shape=(1, 8, 8), classes=4, mean=(0.3,), std=(0.4,), scale=255.0)
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": 8},
    "cnn": {"channels1": 2, "channels2": 3, "hidden1": 8, "hidden2": 6, "kernel_size": 3},
    "resnet": {"width": 2},
}
# Left out of comparisons: an attention's key bias, whose true gradient is zero, so that an optimizer that divides by
# the gradient's size makes whole steps of rounding noise. No family has one yet.
EXEMPT: tuple[str, ...] = ()


def data(count: int = 46) -> CohortData:
    """Images whose brightness tells their class; batches of 8, the last one of 6."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 4
    noise = torch.randint(0, 80, (count, 1, 8, 8), generator=generator)
    x = (noise + 40 * y.view(-1, 1, 1, 1)).to(torch.uint8)
    return CohortData(x, y, x[:16], y[:16], SPEC)


def setting(family: str, dtype: torch.dtype = torch.float64, epochs: int = 5) -> Setting:
    return Setting(FAMILIES[family], data(), epochs, dtype=dtype)


def lanes(family: str, configs: list[dict[str, Any]]) -> list[Lane]:
    """One lane for each config; what a family does not have is left out."""
    kind = FAMILIES[family].Config
    small = SMALL.get(family, {})
    return [
        Lane(n, kind(**{k: v for k, v in {"batch_size": 8, **small, **c}.items() if k in kind.model_fields}), 100 + n)
        for n, c in enumerate(configs)
    ]


def difference(one: Engine, other: Engine, trial: int) -> float:
    """The largest relative difference of a parameter or buffer."""
    mine, theirs = one.export_lane(trial), other.export_lane(trial)
    assert mine.keys() == theirs.keys()
    return max(
        float((mine[name].double() - theirs[name].double()).norm() / (theirs[name].double().norm() + 1e-12))
        for name in mine
        if not name.endswith(EXEMPT or ("\0",))
    )


def same(one: Engine, other: Engine, trial: int) -> bool:
    """Whether a lane has the same bits in both."""
    mine, theirs = one.export_lane(trial), other.export_lane(trial)
    return all(torch.equal(value, theirs[name]) for name, value in mine.items())
