"""What both engines do: train a cohort epoch by epoch, drop lanes, copy lanes, and give up their state."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lit_models.cohort.data import CohortData
from lit_models.cohort.lanes import Lane
from lit_models.core.base import FamilyConfig, LitModel
from lit_models.core.optim import lr_factor
from lit_models.core.sampling import SAMPLERS, Sampler


@dataclass(frozen=True)
class Figures:
    """What one lane reached in one epoch.

    Attributes:
        train_loss: mean over the epoch's samples as trained on (augmented, smoothed).
        val_loss: mean of the plain losses.
        val_accuracy: share of hits; the family says what a hit is, where targets are no classes.
        lr: learning rate of the epoch's first step.
    """

    train_loss: float
    val_loss: float
    val_accuracy: float
    lr: float


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """What all lanes of a cohort are trained on and with.

    Attributes:
        family: the class of their models.
        data: on the device that trains.
        epochs: over which every lane's schedule stretches.
        device: where to train.
        dtype: of the weights; float64 is for proofs.
        compiled: whether the fused engine takes its steps through `torch.compile`.
        graphs: whether it replays its steps on a GPU as CUDA graphs, where they are not compiled.
    """

    family: type[LitModel]
    data: CohortData
    epochs: int
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    compiled: bool = False
    graphs: bool = True


class Engine(Protocol):
    """Trains the lanes of one cohort. `lanes` are those that are still reported, in an order of its own."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """The lanes that go on."""

    def run_epoch(self, epoch: int) -> dict[int, Figures]:
        """Train and validate every lane for one epoch (0-based); return what each trial reached."""

    def keep(self, trials: Collection[int]) -> None:
        """Drop all other lanes."""

    def copy(self, target: int, source: int, config: FamilyConfig) -> None:
        """Give trial `target` the weights of trial `source`, its moments if they are of use, and this config."""

    def state(self) -> dict[str, Tensor]:
        """Return all tensors that `load` needs to go on as if nothing had happened."""

    def load(self, state: Mapping[str, Tensor], configs: Mapping[int, FamilyConfig]) -> None:
        """Take up the state of an engine of the same lanes; `configs` are those that `copy` changed."""

    def export_lane(self, trial: int) -> dict[str, Tensor]:
        """Return an ordinary state_dict of the trial's model."""


def build(setting: Setting, lane: Lane) -> LitModel:
    """Build a lane's model with its own initial weights."""
    model = setting.family(lane.config, setting.data.spec, seed=lane.seed)
    return model.to(device=setting.device, dtype=setting.dtype).train()


def inherits_moments(target: FamilyConfig, source: FamilyConfig) -> bool:
    """Whether a lane that takes over another's weights takes over its optimizer's moments too, or begins them anew.

    Moments of another optimizer mean something else; and without momentum there are none.
    """
    still = source.optimizer in ("momentum", "nesterov") and source.momentum == 0
    return target.optimizer == source.optimizer and not still


def substate(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the entries that begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def sampler(setting: Setting, lane: Lane) -> Sampler:
    """Build what orders a lane's batches."""
    return SAMPLERS[lane.config.sampling](setting.data.spec.labels(setting.data.y.cpu()), lane.seed)


def rates(setting: Setting, config: FamilyConfig, epoch: int, steps: int) -> list[float]:
    """Return the learning rate at each step of an epoch (0-based)."""
    total, first = steps * setting.epochs, steps * epoch
    return [config.lr * lr_factor(config, done, total, setting.epochs) for done in range(first, first + steps)]
