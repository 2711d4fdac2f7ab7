"""What all families of images share: normalisation, augmentation on the fly, mixing."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lit_models.core.augment import AugmentPolicy, Mixing, augment_batch, mix_batch
from lit_models.core.base import LitModel
from lit_models.core.config import FamilyConfig, ImageConfig
from lit_models.core.noise import Noise
from lit_models.specs.base import ImageSpec

__all__ = ["ImageConfig", "ImageModel", "ImageSpec"]


class ImageModel(LitModel):
    """A classifier of images; its network maps normalised images (B, C, H, W) to logits (B, classes)."""

    Config: ClassVar[type[FamilyConfig]] = ImageConfig
    FORMS: ClassVar[tuple[str, ...]] = ("image",)
    config: ImageConfig
    spec: ImageSpec

    def __init__(self, config: ImageConfig, spec: ImageSpec, seed: int = 0) -> None:
        super().__init__(config, spec, seed)
        gain = torch.tensor(spec.std).reciprocal().view(-1, 1, 1)
        self.register_buffer("gain", gain, persistent=False)
        self.register_buffer("shift", -torch.tensor(spec.mean).view(-1, 1, 1) * gain, persistent=False)
        self.gain: Tensor
        self.shift: Tensor

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

    @staticmethod
    def mixing_alphas(config: Any) -> tuple[float, float]:
        """Return the alphas of mixup and CutMix."""
        return config.mixup, config.cutmix

    def train_outputs(self, x: Tensor, y: Tensor, noise: Noise, mixing: Mixing | None) -> tuple[Tensor, Tensor]:
        """Augment and mix raw pixels (B, C, H, W), and return logits (B, classes) and targets.

        Targets are labels (B,), or probabilities (B, classes) where the batch is mixed.
        """
        x = augment_batch(self.unit(x), self.config.augment_strength, AugmentPolicy.of(self.config), noise)
        targets = y
        if mixing is not None:
            x, targets = mix_batch(x, F.one_hot(y, self.spec.classes).to(x.dtype), mixing)
        return self.network(self.normalize(x)), targets
