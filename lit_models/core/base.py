"""The one LightningModule base: steps, metrics, optimizer and schedule. Bases for each form of data stand on it."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lit_models.core.augment import Mixing, draw_mixing
from lit_models.core.config import FamilyConfig
from lit_models.core.data import Batch
from lit_models.core.init import seeded
from lit_models.core.noise import EpochNoise, Noise, drawing
from lit_models.core.optim import build_optimizer, build_schedule
from lit_models.core.precision import half_precision
from lit_models.core.seeds import derive_seed
from lit_models.specs.base import DataSpec

__all__ = ["FamilyConfig", "LitModel"]


class LitModel(pl.LightningModule):
    """A network with everything it takes to train it.

    A family subclasses it, names its `Config` and the forms of data that it takes, and says in `build` what its network
    is. As it stands it classifies: a family whose targets are no classes says what its losses and hits are.

    Args:
        config: the family's hyperparameters.
        spec: the data it is built for.
        seed: of the initial weights.

    Raises:
        TypeError: the configuration is of another family.
        ValueError: the family or the configuration cannot take such data; says why.
    """

    Config: ClassVar[type[FamilyConfig]] = FamilyConfig
    # Forms of data, as in forms.py.
    FORMS: ClassVar[tuple[str, ...]] = ()
    # Why several of these cannot be trained as one; nothing if they can.
    ALONE: ClassVar[str] = ""
    config: FamilyConfig
    spec: DataSpec

    def __init__(self, config: FamilyConfig, spec: DataSpec, seed: int = 0) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(f"{type(self).__name__} takes {self.Config.__name__}, not {type(config).__name__}")
        problem = self.mismatch(spec) or config.problem(spec)
        if problem:
            raise ValueError(problem)
        super().__init__()
        # Lightning's automatic optimization costs as much as the arithmetic of a small network.
        self.automatic_optimization = False
        self.config = config
        self.spec = spec
        self.network = seeded(self.build, config.init, seed)
        # Told the losses (B,) of the samples at index (B,) after each step; set by `fit`.
        self.observe: Callable[[Tensor, Tensor], None] | None = None

    @classmethod
    def mismatch(cls, spec: DataSpec) -> str:
        """Say in one sentence that the family does not take data of this form; nothing if it does."""
        if spec.form in cls.FORMS:
            return ""
        return f"{cls.__name__} takes data of the form {' or '.join(cls.FORMS)}, and these are of the form {spec.form}"

    @property
    def anchor(self) -> Tensor:
        """One of the weights, for type and device; under `torch.vmap` a lane's."""
        return next(self.network.parameters())

    def build(self) -> nn.Module:
        """Build the network from `self.config` and `self.spec`.

        Called once, with torch's global generator seeded.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs as they are prepared to outputs: logits (B, classes) where the targets are classes."""
        outputs: Tensor = self.network(x)
        return outputs

    def train_outputs(self, x: Tensor, y: Tensor, noise: Noise, mixing: Mixing | None) -> tuple[Tensor, Tensor]:
        """Return what `sample_losses` takes of a batch of training; a base may augment the batch first.

        Args:
            x: inputs as they are prepared.
            y: targets.
            noise: the step's; layers draw from it too.
            mixing: how the batch is mixed, if at all.
        """
        del noise, mixing
        return self(x), y

    def sample_losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each sample (B,).

        Label smoothing as in Szegedy et al. 2016: a share of each target is spread over all classes.

        Args:
            logits: (B, classes).
            targets: (B,) int64 labels or (B, classes) probabilities.
        """
        smoothing = self.config.label_smoothing
        if not isinstance(smoothing, Tensor):
            return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        plain = F.cross_entropy(logits, targets, reduction="none")
        return (1 - smoothing) * plain - smoothing * F.log_softmax(logits, dim=1).mean(dim=1)

    def seed_epoch(self, seed: int, epoch: int) -> None:
        """Seed all that is random in an epoch, so that it depends on (seed, epoch) alone.

        Layers of ours, augmentation and mixing draw from `EpochNoise`; what else there may be from torch's
        global generators.
        """
        torch.manual_seed(derive_seed(seed, epoch, 2))
        self.noise = EpochNoise(seed, epoch)

    def carried(self) -> dict[str, Tensor]:
        """Return what a training that goes on needs beside the state_dict; nothing for most families."""
        return {}

    def carry(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `carried` returned."""

    @staticmethod
    def mixing_alphas(config: Any) -> tuple[float, float]:
        """Return the alphas of mixup and CutMix in a configuration; 0 is off."""
        del config
        return 0.0, 0.0

    def mixing(self, count: int, rng: np.random.Generator) -> Mixing | None:
        """Draw how a batch of `count` is mixed, or None where neither mixup nor CutMix is on."""
        alphas = self.mixing_alphas(self.config)
        return draw_mixing(count, *alphas, rng, self.anchor) if any(alphas) else None

    def training_losses(self, x: Tensor, y: Tensor, key: int | Tensor, mixing: Mixing | None) -> Tensor:
        """Return the losses (B,) of a batch as trained on: augmented, with dropout and smoothing.

        Args:
            x: inputs as they are prepared.
            y: targets.
            key: of the step's noise, 32 bits.
            mixing: how the batch is mixed, if at all.
        """
        half = half_precision(self.anchor.device.type) if self.config.precision == "bf16" else nullcontext()
        with drawing(Noise(key)) as noise, half:
            outputs, targets = self.train_outputs(x, y, noise, mixing)
        return self.sample_losses(outputs.to(self.anchor.dtype), targets)

    def validation_sums(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (2,): the sum of the plain losses, without smoothing, and the number of hits."""
        logits = self(x)
        loss = F.cross_entropy(logits, y, reduction="sum")
        return torch.stack([loss, (logits.argmax(1) == y).sum()])

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Take one step of the optimizer and of the schedule."""
        del batch_idx
        x, y, index = batch
        losses = self.training_losses(x, y, self.noise.next(), self.mixing(len(y), self.noise.rng))
        self._optimizer.zero_grad()
        torch.autograd.backward(losses.mean())
        if self.config.gradient_clip:
            nn.utils.clip_grad_norm_(self.parameters(), self.config.gradient_clip)
        self._optimizer.step()
        self._schedule.step()
        self.train_sum += losses.detach().sum()
        self.train_count += len(y)
        if self.observe is not None:
            self.observe(index, losses.detach())

    def on_train_start(self) -> None:
        """Keep the bare optimizer: Lightning's wrapper is for things we do not use."""
        self._optimizer: Any = self.optimizers(use_pl_optimizer=False)
        self._schedule: Any = self.lr_schedulers()

    def release(self) -> None:
        """Let go of trainer, optimizer, schedule and sampler after training."""
        self._optimizer = self._schedule = self.observe = None
        self.trainer = None

    def on_train_epoch_start(self) -> None:
        """Reset the sums that the epoch's training loss is made of."""
        self.train_sum = torch.zeros((), device=self.device)
        self.train_count = 0

    def on_validation_epoch_start(self) -> None:
        """Reset the sums (loss, hits) that the epoch's validation figures are made of."""
        self.val_sums = torch.zeros(2, device=self.device)
        self.val_count = 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up loss and hits on the device; the plain cross-entropy, without smoothing."""
        del batch_idx
        x, y, _ = batch
        self.val_sums += self.validation_sums(x, y)
        self.val_count += len(y)

    def configure_optimizers(self) -> Any:
        """Return optimizer and per-step schedule as Lightning wants them."""
        optimizer = build_optimizer(self.parameters(), self.config)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, self.config, total, self.trainer.max_epochs or 1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
