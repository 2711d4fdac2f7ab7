"""Augmentation on the fly, whole batches at a time on the device, each image with a draw of its own."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lit_models.config import FamilyConfig


@dataclass(frozen=True)
class AugmentPolicy:
    """Largest change at strength 1.

    Attributes:
        shift: share of a side.
        rotate: degrees.
        scale: zoom, 0.1 for a factor between 1/1.1 and 1.1.
        shear: degrees.
        flip: whether half of the images are mirrored left to right.
        erase: probability that a box is erased (Zhong et al., Random Erasing, 2020).
        jitter: change of brightness (added) and of contrast (factor).
    """

    shift: float = 0.1
    rotate: float = 10.0
    scale: float = 0.1
    shear: float = 5.0
    flip: bool = False
    erase: float = 0.0
    jitter: float = 0.0

    @classmethod
    def of(cls, config: FamilyConfig) -> "AugmentPolicy":
        """Take the policy from the flat hyperparameters `augment_*`."""
        return cls(
            shift=config.augment_shift,
            rotate=config.augment_rotate,
            scale=config.augment_scale,
            shear=config.augment_shear,
            flip=config.augment_flip,
            erase=config.augment_erase,
            jitter=config.augment_jitter,
        )


def augment_batch(x: Tensor, strength: float, policy: AugmentPolicy, generator: torch.Generator) -> Tensor:
    """Change every image of a batch in its own way.

    Args:
        x: (B, C, H, W) float in [0, 1], on the generator's device.
        strength: multiplies every range and probability of the policy but that of the flip.
        policy: the ranges at strength 1.
        generator: the same state gives the same result.

    Returns:
        (B, C, H, W) float in [0, 1]; `x` itself at strength 0.
    """
    if strength == 0:
        return x
    # Uniform in [-1, 1): all that any step needs, in one draw.
    u = torch.rand((13, len(x)), generator=generator, device=x.device, dtype=x.dtype).mul_(2).sub_(1)
    if policy.shift or policy.rotate or policy.scale or policy.shear:
        x = _affine(x, u[:6], strength, policy)
    elif policy.flip:
        x = torch.where((u[5] < 0).view(-1, 1, 1, 1), x.flip(-1), x)
    if policy.jitter:
        x = _jitter(x, u[6:8], strength * policy.jitter)
    if policy.erase:
        x = _erase(x, u[8:13], strength * policy.erase)
    return x


def _affine(x: Tensor, u: Tensor, strength: float, policy: AugmentPolicy) -> Tensor:
    """Shift, rotate, zoom, shear and flip in a single resampling; what comes from outside is 0."""
    height, width = x.shape[-2:]
    angle = u[0] * math.radians(strength * policy.rotate)
    shear = u[1] * math.radians(strength * policy.shear)
    # Sampling coordinates zoom inversely to the image, which a symmetric draw makes no matter.
    zoom = torch.exp(u[2] * math.log1p(strength * policy.scale))
    cos, sin, tan = angle.cos() * zoom, angle.sin() * zoom, shear.tan()
    mirror = torch.where(u[5] < 0, -1.0, 1.0) if policy.flip else 1.0
    # Coordinates run from -1 to 1 on both sides, so the rotation of a picture that is no square must
    # convert them to pixels and back.
    aspect = height / width
    theta = torch.stack(
        [
            cos * mirror,
            (cos * tan - sin) * aspect,
            2 * strength * policy.shift * u[3],
            sin * mirror / aspect,
            sin * tan + cos,
            2 * strength * policy.shift * u[4],
        ],
        dim=-1,
    ).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _jitter(x: Tensor, u: Tensor, jitter: float) -> Tensor:
    """Scale the contrast around each image's mean and add to its brightness."""
    brightness, contrast = (jitter * u).view(2, -1, 1, 1, 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return torch.clamp((x - mean) * (1 + contrast) + mean + brightness, 0, 1)


def _erase(x: Tensor, u: Tensor, probability: float) -> Tensor:
    """Set a box of 2 to 20 % of the area, of aspect 1/3 to 3, to 0."""
    height, width = x.shape[-2:]
    chosen, area, aspect, row, column = (0.5 * (u + 1)).view(5, -1, 1)
    side = torch.sqrt(0.02 + 0.18 * area)
    stretch = torch.exp((aspect - 0.5) * math.log(3))
    rows = _inside(height, side * stretch, row, x)
    columns = _inside(width, side / stretch, column, x)
    box = (rows.unsqueeze(2) & columns.unsqueeze(1) & (chosen < probability).unsqueeze(2)).unsqueeze(1)
    return x.masked_fill(box, 0.0)


def _inside(size: int, share: Tensor, place: Tensor, like: Tensor) -> Tensor:
    """Mark (B, size) the pixels of an interval of that share of a side, placed (0 to 1) within it."""
    length = (share * size).round().clamp(1, size)
    start = torch.floor(place * (size - length + 1))
    pixel = torch.arange(size, device=like.device, dtype=like.dtype)
    return (pixel >= start) & (pixel < start + length)


def mixup(x: Tensor, targets: Tensor, lam: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Blend each image and its target with a partner's (Zhang et al., mixup, 2018).

    Args:
        x: (B, C, H, W) float.
        targets: (B, classes) probabilities.
        lam: (B,) share that each keeps of itself.
        partner: (B,) int64, whom each is blended with.
    """
    share = lam.view(-1, 1, 1, 1)
    keep = lam.view(-1, 1)
    return share * x + (1 - share) * x[partner], keep * targets + (1 - keep) * targets[partner]


def cutmix(x: Tensor, targets: Tensor, lam: Tensor, partner: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Paste a box of a partner's image, and mix the targets by area (Yun et al., CutMix, 2019).

    Args:
        x: (B, C, H, W) float.
        targets: (B, classes) probabilities.
        lam: (B,) share of the area that each keeps, before the box is cut off at the border.
        partner: (B,) int64, whose box each receives.
        centre: (2, B) in [0, 1), row and column of the box's middle as shares of the sides.
    """
    height, width = x.shape[-2:]
    half = 0.5 * torch.sqrt(1 - lam)
    rows = _span(height, half, centre[0])
    columns = _span(width, half, centre[1])
    box = rows.unsqueeze(2) & columns.unsqueeze(1)
    kept = 1 - box.to(x.dtype).mean(dim=(1, 2)).view(-1, 1)
    mixed = torch.where(box.unsqueeze(1), x[partner], x)
    return mixed, kept * targets + (1 - kept) * targets[partner]


def _span(size: int, half: Tensor, centre: Tensor) -> Tensor:
    """Mark (B, size) the pixels whose middle lies within `half` a side of the centre."""
    middle = (torch.arange(size, device=half.device, dtype=half.dtype) + 0.5) / size
    return (middle - centre.unsqueeze(1)).abs() < half.unsqueeze(1)


def mix_batch(
    x: Tensor, targets: Tensor, alpha_mixup: float, alpha_cutmix: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Apply mixup or CutMix to a batch; where both are on, a fair coin chooses for each batch.

    Args:
        x: (B, C, H, W) float.
        targets: (B, classes) probabilities.
        alpha_mixup: of Beta(alpha, alpha); 0 is off.
        alpha_cutmix: of Beta(alpha, alpha); 0 is off.
        rng: the same state gives the same result. NumPy's, since torch's Beta takes no generator.
    """
    if alpha_mixup == 0 and alpha_cutmix == 0:
        return x, targets
    cut = alpha_cutmix > 0 and (alpha_mixup == 0 or bool(rng.random() < 0.5))
    alpha = alpha_cutmix if cut else alpha_mixup
    draws = np.concatenate([rng.beta(alpha, alpha, (1, len(x))), rng.random((2, len(x)))])
    lam, row, column = torch.from_numpy(draws).to(device=x.device, dtype=x.dtype)
    partner = torch.from_numpy(rng.permutation(len(x))).to(x.device)
    if cut:
        return cutmix(x, targets, lam, partner, torch.stack([row, column]))
    return mixup(x, targets, lam, partner)
