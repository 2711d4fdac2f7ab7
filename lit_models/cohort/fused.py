"""The fused engine: the lanes' weights stacked, one forward and one backward for all of them.

The idea of training many models of one shape as one is HFTA's (Wang et al., Horizontally Fused Training Array, 2021).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from lit_models.cohort.compiled import Compiled, Group
from lit_models.cohort.engine import Figures, Setting, build, inherits_moments, rates, sampler, substate
from lit_models.cohort.graphs import Graphed, Tensors
from lit_models.cohort.lanes import Lane, LaneLosses, LaneValues
from lit_models.cohort.stacked_layers import StackedLayers
from lit_models.cohort.vector_optim import UPDATES, VectorOptimizer
from lit_models.core.augment import Mixing, draw_mixing
from lit_models.core.base import FamilyConfig
from lit_models.core.data import EVAL_BATCH
from lit_models.core.noise import EpochNoise, step_keys


class FusedEngine:
    """Trains K lanes as one network with K times the weights; at least two.

    Args:
        lanes: of one signature.
        setting: what they share.
        varying: float hyperparameters that `copy` may change later.

    Raises:
        ValueError: the lanes differ in more than numbers.
    """

    def __init__(self, lanes: Sequence[Lane], setting: Setting, varying: Collection[str] = ()) -> None:
        self.setting = setting
        order = list(UPDATES)
        # Each kind of optimizer has neighbouring rows.
        self._rows = sorted(lanes, key=lambda lane: (order.index(lane.config.optimizer), lane.trial))
        self._active = {lane.trial for lane in lanes}
        models = [build(setting, lane) for lane in self._rows]
        first = self._rows[0]
        other = first.config.model_copy(update={name: getattr(first.config, name) / 2 + 1e-3 for name in varying})
        self._values = LaneValues(models, build(setting, replace(first, config=other)) if varying else None)
        self._template = LaneLosses(models[0])
        self._names = [name for name, _ in models[0].network.named_parameters()]
        self._shapes = [parameter.shape for parameter in models[0].network.parameters()]
        rows = [torch.cat([p.detach().reshape(-1) for p in model.network.parameters()]) for model in models]
        self._optimizer = VectorOptimizer([lane.config for lane in self._rows], torch.stack(rows))
        self._buffers = {
            name: torch.stack([model.network.get_buffer(name) for model in models])
            for name, _ in models[0].network.named_buffers()
        }
        self._samplers = [sampler(setting, lane) for lane in self._rows]
        self._train = Compiled(self._training) if setting.compiled else self._training
        graphs = setting.device.type == "cuda" and setting.graphs and not setting.compiled
        self.graphed = [Graphed(step) for step in (self._take, self._sums)] if graphs else []
        calls: Sequence[Callable[..., Tensors]] = self.graphed or (self._take, self._sums)
        self._step, self._validation = calls
        # All lanes together validate on about as many images as one would alone, or on as many as they train on.
        # By how many they were when they began, for it decides how sums are rounded.
        self._validated = max(first.config.batch_size, EVAL_BATCH // len(lanes))

    @property
    def lanes(self) -> list[Lane]:
        """The lanes that go on."""
        return [lane for lane in self._rows if lane.trial in self._active]

    def run_epoch(self, epoch: int) -> dict[int, Figures]:
        """Train and validate every lane for one epoch."""
        data, batch_size = self.setting.data, self._rows[0].config.batch_size
        steps = data.batches(batch_size)
        noises = [EpochNoise(lane.seed, epoch) for lane in self._rows]
        # What an epoch needs goes to the device once, and no lane has Python of its own in a step: on a GPU a step of
        # a hundred lanes takes a few milliseconds.
        keys = step_keys(noises, steps).to(data.x.device)
        orders = torch.stack([own.order(epoch) for own in self._samplers]).to(data.x.device)
        learners = [(row, own) for row, own in enumerate(self._samplers) if own.learns]
        lr = torch.tensor(
            [rates(self.setting, lane.config, epoch, steps) for lane in self._rows], dtype=torch.float64
        ).to(self._optimizer.weights)
        self._template.train()
        sums = torch.zeros(len(self._rows), device=data.x.device, dtype=self.setting.dtype)
        count = 0
        for step, index in enumerate(torch.split(orders, batch_size, dim=1)[:steps]):
            (losses,) = self._step(index, keys[step], lr[:, step], *self._mixing(index.shape[1], noises))
            sums += losses.sum(dim=1)
            count += index.shape[1]
            for row, learner in learners:
                learner.observe(index[row], losses[row])
        validation, train, first = self._validate(), (sums / count).tolist(), lr[:, 0].tolist()
        return {
            lane.trial: Figures(train[row], *validation[row], lr=first[row])
            for row, lane in enumerate(self._rows)
            if lane.trial in self._active
        }

    def _take(self, index: Tensor, keys: Tensor, lr: Tensor, *mixing: Tensor) -> Tensors:
        """Take a step on the samples at `index` (K, B) with keys of noise (K,) and rates (K,); return losses (K, B)."""
        data = self.setting.data
        x = data.x.index_select(0, index.reshape(-1)).view(*index.shape, *data.x.shape[1:])
        own = (x, data.y[index], keys, *mixing)
        losses, gradients = self._train(*self._stacked, {"weights": self._optimizer.weights}, dict(enumerate(own)))
        self._optimizer.step(gradients, lr)
        return (losses,)

    @property
    def _stacked(self) -> tuple[Group, Group, Group]:
        return self._buffers, self._values.config, self._values.attributes

    def _training(
        self, buffers: Group, config: Group, attributes: Group, weights: Group, own: Group
    ) -> tuple[Tensor, Tensor]:
        """Return the losses (K, B) and their gradients (K, P); all that changes from call to call is an argument."""
        leaf = weights["weights"].detach().requires_grad_()
        losses = self._mapped("training_losses", leaf, (buffers, config, attributes), tuple(own.values()))
        (gradients,) = torch.autograd.grad(losses.mean(dim=1).sum(), leaf)
        return losses.detach(), gradients

    def _mixing(self, count: int, noises: Sequence[EpochNoise]) -> Tensors:
        """Draw each lane's mixing of a batch, stacked; nothing if no lane mixes."""
        alphas = [self.setting.family.mixing_alphas(lane.config) for lane in self._rows]
        if not any(map(any, alphas)):
            return ()
        like = self._optimizer.weights
        drawn = [draw_mixing(count, *own, noise.rng, like) for own, noise in zip(alphas, noises, strict=True)]
        return tuple(torch.stack([getattr(m, name) for m in drawn]) for name in ("lam", "partner", "centre", "cut"))

    @torch.no_grad()
    def _validate(self) -> list[tuple[float, float]]:
        """Return (loss, accuracy) of each row on the validation set."""
        self._template.eval()
        sums = torch.zeros(len(self._rows), 2, device=self.setting.device, dtype=self.setting.dtype)
        for x, y in self.setting.data.validation(self._validated):
            sums += self._validation(x, y)[0]
        loss, hits = (sums / len(self.setting.data.val_y)).T.tolist()
        return list(zip(loss, hits, strict=True))

    def _sums(self, x: Tensor, y: Tensor) -> Tensors:
        """Return (K, 2): each lane's sum of losses and hits on a batch of the validation set."""
        return (self._mapped("validation_sums", self._optimizer.weights, self._stacked, (), x, y),)

    def _mapped(
        self,
        step: str,
        weights: Tensor,
        stacked: tuple[Group, Group, Group],
        own: tuple[Tensor, ...],
        *shared: Tensor,
    ) -> Tensor:
        """Call a method of the model for all lanes: `own` inputs have a row for each lane, `shared` are the same."""
        parts = torch.split(weights, [shape.numel() for shape in self._shapes], dim=1)
        parameters = {
            f"model.network.{name}": part.view(len(part), *shape)
            for name, part, shape in zip(self._names, parts, self._shapes, strict=True)
        }
        buffers = {f"model.network.{name}": buffer for name, buffer in stacked[0].items()}

        def lane(stacked: dict[str, Tensor], values: Any, attributes: Any, own: tuple[Tensor, ...]) -> Tensor:
            if step == "training_losses":
                x, y, key, *mixing = own
                inputs: tuple[Any, ...] = (x, y, key, Mixing(*mixing) if mixing else None)
            else:
                inputs = (*own, *shared)
            result: Tensor = functional_call(self._template, stacked, (values, attributes, step, *inputs))
            return result

        mapped: Callable[..., Tensor] = vmap(lane)
        with StackedLayers():
            return mapped({**parameters, **buffers}, *stacked[1:], own)

    def keep(self, trials: Collection[int]) -> None:
        """Drop all other lanes, but for a spare beside a last one: a single lane would take other kernels."""
        self._active &= set(trials)
        rows = [row for row, lane in enumerate(self._rows) if lane.trial in self._active]
        if len(rows) == 1:
            rows = sorted({*rows, next(row for row in range(len(self._rows)) if row != rows[0])})
        self._select(rows)

    def _select(self, rows: list[int]) -> None:
        if rows == list(range(len(self._rows))):
            return
        chosen = torch.tensor(rows, device=self.setting.device)
        optimizer = self._optimizer
        self._rows = [self._rows[row] for row in rows]
        self._samplers = [self._samplers[row] for row in rows]
        for name in ("weights", "m", "v", "steps"):
            setattr(optimizer, name, getattr(optimizer, name).index_select(0, chosen))
        optimizer.configs = [optimizer.configs[row] for row in rows]
        self._refresh(moved=True)
        self._buffers = {name: buffer.index_select(0, chosen) for name, buffer in self._buffers.items()}
        self._values.select(chosen)

    def copy(self, target: int, source: int, config: FamilyConfig) -> None:
        """Give trial `target` the weights of trial `source`, its moments if they are of use, and this config."""
        trials = [lane.trial for lane in self._rows]
        to, of = trials.index(target), trials.index(source)
        optimizer = self._optimizer
        for matrix in (optimizer.weights, *self._buffers.values()):
            matrix[to] = matrix[of]
        inherits = inherits_moments(config, self._rows[of].config)
        for moment in (optimizer.m, optimizer.v, optimizer.steps):
            moment[to] = moment[of] if inherits else 0
        self._configure(to, config)
        self._refresh()

    def _refresh(self, moved: bool = False) -> None:
        """Take up hyperparameters that have changed, and tensors if they have moved."""
        if self._optimizer.refresh() or moved:
            for graphed in self.graphed:
                graphed.forget()

    def _configure(self, row: int, config: FamilyConfig) -> None:
        self._rows[row] = replace(self._rows[row], config=config)
        self._optimizer.configs[row] = config
        self._values.replace(row, build(self.setting, self._rows[row]))

    def state(self) -> dict[str, Tensor]:
        """Return weights, moments, buffers, steps, samplers, and which trial each row is."""
        optimizer = self._optimizer
        state = {
            "weights": optimizer.weights.detach(),
            "m": optimizer.m,
            "v": optimizer.v,
            "steps": optimizer.steps,
            "rows": torch.tensor([lane.trial for lane in self._rows]),
            "active": torch.tensor(sorted(self._active)),
        }
        state |= {f"buffer.{name}": buffer for name, buffer in self._buffers.items()}
        for lane, own in zip(self._rows, self._samplers, strict=True):
            state |= {f"sampler.{lane.trial}.{name}": value for name, value in own.state_dict().items()}
        return state

    def load(self, state: Mapping[str, Tensor], configs: Mapping[int, FamilyConfig]) -> None:
        """Take up the state of an engine of the same lanes; `configs` are those that `copy` changed."""
        trials = [lane.trial for lane in self._rows]
        self._active = set(state["active"].tolist())
        self._select([trials.index(trial) for trial in state["rows"].tolist()])
        optimizer = self._optimizer
        for name in ("weights", "m", "v"):
            setattr(optimizer, name, state[name].to(optimizer.weights, copy=True))
        optimizer.steps = state["steps"].to(optimizer.steps, copy=True)
        self._buffers = {name: state[f"buffer.{name}"].to(self.setting.device, copy=True) for name in self._buffers}
        for row, lane in enumerate(self._rows):
            if lane.trial in configs:
                self._configure(row, configs[lane.trial])
            self._samplers[row].load_state_dict(substate(state, f"sampler.{lane.trial}."))
        self._refresh(moved=True)

    def export_lane(self, trial: int) -> dict[str, Tensor]:
        """Return an ordinary state_dict of the trial's model."""
        row = [lane.trial for lane in self._rows].index(trial)
        parts = torch.split(self._optimizer.weights[row].detach().cpu(), [shape.numel() for shape in self._shapes])
        weights = {n: part.view(shape).clone() for n, part, shape in zip(self._names, parts, self._shapes, strict=True)}
        buffers = {name: buffer[row].cpu().clone() for name, buffer in self._buffers.items()}
        return {f"network.{name}": value for name, value in {**weights, **buffers}.items()}
