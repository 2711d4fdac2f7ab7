"""The lone engine: the same cohort, its lanes one after another, by torch.optim and without `torch.vmap`.

It trains what cannot be fused, what would be slower fused, and it is what the fused engine is proved against.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lit_models.cohort.engine import Figures, Setting, build, inherits_moments, rates, sampler, substate
from lit_models.cohort.lanes import Lane
from lit_models.core.base import FamilyConfig, LitModel
from lit_models.core.optim import build_optimizer
from lit_models.core.sampling import Sampler


@dataclass
class _Trainee:
    """One lane with its model, optimizer and sampler."""

    lane: Lane
    model: LitModel
    optimizer: torch.optim.Optimizer
    sampler: Sampler


class LoneEngine:
    """Trains lanes one after another; they may be of different signatures.

    Args:
        lanes: one or more.
        setting: what they share.
    """

    def __init__(self, lanes: Sequence[Lane], setting: Setting) -> None:
        self.setting = setting
        self._trainees = {lane.trial: self._begin(lane) for lane in sorted(lanes, key=lambda lane: lane.trial)}

    def _begin(self, lane: Lane) -> _Trainee:
        model = build(self.setting, lane)
        return _Trainee(lane, model, build_optimizer(model.parameters(), lane.config), sampler(self.setting, lane))

    @property
    def lanes(self) -> list[Lane]:
        """The lanes that go on."""
        return [trainee.lane for trainee in self._trainees.values()]

    def run_epoch(self, epoch: int) -> dict[int, Figures]:
        """Train and validate every lane for one epoch."""
        devices = [self.setting.device] if self.setting.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            return {trial: self._run(trainee, epoch) for trial, trainee in self._trainees.items()}

    def _run(self, trainee: _Trainee, epoch: int) -> Figures:
        model, data, config = trainee.model.train(), self.setting.data, trainee.lane.config
        steps = data.batches(config.batch_size)
        lr = rates(self.setting, config, epoch, steps)
        model.seed_epoch(trainee.lane.seed, epoch)
        order = trainee.sampler.order(epoch).to(data.x.device)
        total = torch.zeros((), device=data.x.device, dtype=self.setting.dtype)
        count = 0
        for step, index in enumerate(torch.split(order, config.batch_size)[:steps]):
            for group in trainee.optimizer.param_groups:
                group["lr"] = lr[step]
            losses = _step(model, trainee.optimizer, data.x[index], data.y[index])
            trainee.sampler.observe(index, losses)
            total += losses.sum()
            count += len(index)
        return Figures(float(total / count), *self._validate(model), lr=lr[0])

    @torch.no_grad()
    def _validate(self, model: LitModel) -> tuple[float, float]:
        model.eval()
        sums = torch.zeros(2, device=self.setting.device, dtype=self.setting.dtype)
        for x, y in self.setting.data.validation():
            sums += model.validation_sums(x, y)
        loss, accuracy = (sums / len(self.setting.data.val_y)).tolist()
        return loss, accuracy

    def keep(self, trials: Collection[int]) -> None:
        """Drop all other lanes."""
        self._trainees = {trial: trainee for trial, trainee in self._trainees.items() if trial in trials}

    def copy(self, target: int, source: int, config: FamilyConfig) -> None:
        """Give trial `target` the weights of trial `source`, its moments if they are of use, and this config."""
        to, of = self._configure(target, config), self._trainees[source]
        to.model.load_state_dict(of.model.state_dict())
        to.model.carry({name: value.clone() for name, value in of.model.carried().items()})
        if not inherits_moments(config, of.lane.config):
            return
        groups = to.optimizer.state_dict()["param_groups"]
        # Deeply: an optimizer takes up the very tensors that it is given.
        moments = copy.deepcopy(of.optimizer.state_dict()["state"])
        to.optimizer.load_state_dict({"state": moments, "param_groups": groups})

    def _configure(self, trial: int, config: FamilyConfig) -> _Trainee:
        old = self._trainees[trial]
        self._trainees[trial] = new = self._begin(replace(old.lane, config=config))
        new.sampler = old.sampler
        return new

    def state(self) -> dict[str, Tensor]:
        """Return every lane's weights, moments and sampler, and what its model carries besides."""
        state: dict[str, Tensor] = {}
        for trial, trainee in self._trainees.items():
            state |= {f"{trial}.model.{name}": value for name, value in trainee.model.state_dict().items()}
            for place, moments in trainee.optimizer.state_dict()["state"].items():
                state |= {
                    f"{trial}.optimizer.{place}.{name}": value
                    for name, value in moments.items()
                    if isinstance(value, Tensor)
                }
            state |= {f"{trial}.sampler.{name}": value for name, value in trainee.sampler.state_dict().items()}
            state |= {f"{trial}.carried.{name}": value for name, value in trainee.model.carried().items()}
        return state

    def load(self, state: Mapping[str, Tensor], configs: Mapping[int, FamilyConfig]) -> None:
        """Take up the state of an engine of the same lanes; `configs` are those that `copy` changed."""
        self.keep({int(name.partition(".")[0]) for name in state})
        for trial in list(self._trainees):
            trainee = self._configure(trial, configs[trial]) if trial in configs else self._trainees[trial]
            trainee.model.load_state_dict(substate(state, f"{trial}.model."))
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in substate(state, f"{trial}.optimizer.").items():
                place, _, entry = name.partition(".")
                moments.setdefault(int(place), {})[entry] = value.clone()
            groups = trainee.optimizer.state_dict()["param_groups"]
            trainee.optimizer.load_state_dict({"state": moments, "param_groups": groups})
            trainee.sampler.load_state_dict(substate(state, f"{trial}.sampler."))
            trainee.model.carry(substate(state, f"{trial}.carried."))

    def export_lane(self, trial: int) -> dict[str, Tensor]:
        """Return an ordinary state_dict of the trial's model."""
        return {name: value.detach().cpu().clone() for name, value in self._trainees[trial].model.state_dict().items()}


def _step(model: LitModel, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """Take one step; return the losses (B,)."""
    losses = model.training_losses(x, y, model.noise.next(), model.mixing(len(y), model.noise.rng))
    optimizer.zero_grad()
    torch.autograd.backward(losses.mean())
    if model.config.gradient_clip:
        nn.utils.clip_grad_norm_(model.parameters(), model.config.gradient_clip)
    optimizer.step()
    return losses.detach()
