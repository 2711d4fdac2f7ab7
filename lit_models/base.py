"""The one LightningModule base: normalisation, steps, metrics, optimizer and schedule."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lit_models.augment import AugmentPolicy, Mixing, augment_batch, draw_mixing, mix_batch
from lit_models.config import FamilyConfig
from lit_models.data import Batch
from lit_models.init import seeded
from lit_models.noise import EpochNoise, Noise, drawing
from lit_models.optim import build_optimizer, build_schedule
from lit_models.precision import half_precision
from lit_models.seeds import derive_seed
from lit_models.spec import DataSpec

__all__ = ["FamilyConfig", "LitModel"]


class LitModel(pl.LightningModule):
    """A network with everything it takes to train it.

    A family subclasses it, names its `Config`, and says in `build` what its network is.

    Args:
        config: the family's hyperparameters.
        spec: the data it is built for.
        seed: of the initial weights.

    Raises:
        TypeError: the configuration is of another family.
        ValueError: the configuration cannot take images of that shape; says why.
    """

    Config: ClassVar[type[FamilyConfig]] = FamilyConfig
    config: FamilyConfig

    def __init__(self, config: FamilyConfig, spec: DataSpec, seed: int = 0) -> None:
        if not isinstance(config, self.Config):
            raise TypeError(f"{type(self).__name__} takes {self.Config.__name__}, not {type(config).__name__}")
        problem = config.problem(spec.shape)
        if problem is not None:
            raise ValueError(problem)
        super().__init__()
        # Lightning's automatic optimization costs as much as the arithmetic of a small network.
        self.automatic_optimization = False
        self.config = config
        self.spec = spec
        self.network = seeded(self.build, config.init, seed)
        # Told the losses (B,) of the samples at index (B,) after each step; set by `fit`.
        self.observe: Callable[[Tensor, Tensor], None] | None = None
        gain = torch.tensor(spec.std).reciprocal().view(-1, 1, 1)
        self.register_buffer("gain", gain, persistent=False)
        self.register_buffer("shift", -torch.tensor(spec.mean).view(-1, 1, 1) * gain, persistent=False)
        self.gain: Tensor
        self.shift: Tensor

    def build(self) -> nn.Module:
        """Build the network from `self.config` and `self.spec`.

        It maps normalised images (B, C, H, W) to logits (B, classes). Called once, with torch's global
        generator seeded.
        """
        raise NotImplementedError

    def unit(self, x: Tensor) -> Tensor:
        """Bring raw pixels (uint8 or float) to float in [0, 1]."""
        return x.to(self.gain.dtype) / self.spec.scale

    def normalize(self, x: Tensor) -> Tensor:
        """Normalise images in [0, 1] by the training set's mean and deviation, channel by channel."""
        return torch.addcmul(self.shift, x, self.gain)

    def forward(self, x: Tensor) -> Tensor:
        """Map raw pixels (B, C, H, W), uint8 or float, to logits (B, classes)."""
        logits: Tensor = self.network(self.normalize(self.unit(x)))
        return logits

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

    def mixing(self, count: int, rng: np.random.Generator) -> Mixing | None:
        """Draw how a batch of `count` is mixed, or None where neither mixup nor CutMix is on."""
        if not self.config.mixup and not self.config.cutmix:
            return None
        return draw_mixing(count, self.config.mixup, self.config.cutmix, rng, self.gain)

    def training_losses(self, x: Tensor, y: Tensor, key: int | Tensor, mixing: Mixing | None) -> Tensor:
        """Augment a batch of raw pixels (B, C, H, W) with labels (B,) and return its losses (B,).

        Args:
            x: raw pixels.
            y: labels.
            key: of the step's noise, 32 bits.
            mixing: how the batch is mixed, if at all.
        """
        config = self.config
        precision = half_precision(x.device.type) if config.precision == "bf16" else nullcontext()
        with drawing(Noise(key)) as noise, precision:
            x = augment_batch(self.unit(x), config.augment_strength, AugmentPolicy.of(config), noise)
            targets = y
            if mixing is not None:
                x, targets = mix_batch(x, F.one_hot(y, self.spec.classes).to(x.dtype), mixing)
            logits = self.network(self.normalize(x))
        return self.sample_losses(logits.to(self.gain.dtype), targets)

    def validation_sums(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (2,): the sum of the plain cross-entropies, without smoothing, and the number of hits."""
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
