"""Cohorts of tiny models on tiny data, for proofs in float64."""

from dataclasses import replace
from typing import Any

import torch

from lit_models import FAMILIES
from lit_models.cohort.data import CohortData
from lit_models.cohort.engine import Engine, Setting
from lit_models.cohort.lanes import Lane
from tests.lit_models import samples
from tests.lit_models.samples import family_of, form_of, spec_of

SPEC = samples.IMAGE
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": 8},
    "cnn": {"channels1": 2, "channels2": 3, "hidden1": 8, "hidden2": 6, "kernel_size": 3},
    "resnet": {"width": 2},
    "conv1d": {"width": 4, "kernel_size": 3, "embedding": 3},
    "rnn": {"width": 5, "embedding": 3},
    "encoder": {"width": 4, "heads": 2, "blocks": 1, "expansion": 2},
    "transformer": {"width": 8, "heads": 2, "encoder_blocks": 1, "decoder_blocks": 1},
    "gpt": {"width": 8, "heads": 2, "blocks": 1},
    "gnn": {"width": 6},
    "dqn": {"hidden": 8, "environments": 2, "learning_starts": 8, "replay": 64},
    "ppo": {"hidden": 8, "environments": 4, "passes": 2},
}
# Left out of comparisons: an attention's key bias, whose true gradient is zero, so that an optimizer that divides by
# the gradient's size makes whole steps of rounding noise. Ours is built without one.
EXEMPT: tuple[str, ...] = ()


def data(count: int = 46) -> CohortData:
    """Images whose brightness tells their class."""
    return samples.data("image", count)


def setting(case: str, dtype: torch.dtype = torch.float64, epochs: int = 5) -> Setting:
    """A family on its sample, which is brought to the type of the weights where it is of floats."""
    sample = samples.data(form_of(case))
    if sample.x.is_floating_point():
        floats = {name: getattr(sample, name).to(dtype) for name in ("x", "y", "val_x", "val_y")}
        sample = replace(sample, **floats)
    return Setting(FAMILIES[family_of(case)], sample, epochs, dtype=dtype)


def lanes(case: str, configs: list[dict[str, Any]]) -> list[Lane]:
    """One lane for each config; what a family does not have, or its data have no use for, is left out."""
    kind, spec = FAMILIES[family_of(case)].Config, spec_of(form_of(case))
    # Only classes can be smoothed.
    without = set() if spec.classes else {"label_smoothing"}
    names = kind.model_fields.keys() - without
    full = [{"batch_size": 8, **SMALL.get(family_of(case), {}), **config} for config in configs]
    own = [{name: value for name, value in config.items() if name in names} for config in full]
    return [Lane(n, kind(**config), 100 + n) for n, config in enumerate(own)]


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
