"""Augmentation on the fly, whole batches at a time on the device, each image with a draw of its own."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lit_models.core.config import ImageConfig
from lit_models.core.noise import Noise

# A hyperparameter: a number, or where a cohort's lanes differ in it, a lane's scalar under `torch.vmap`.
Value = float | Tensor
DRAWS = 13


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

    shift: Value = 0.1
    rotate: Value = 10.0
    scale: Value = 0.1
    shear: Value = 5.0
    flip: bool = False
    erase: Value = 0.0
    jitter: Value = 0.0

    @classmethod
    def of(cls, config: ImageConfig) -> "AugmentPolicy":
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


def is_off(value: Value) -> bool:
    """Whether a hyperparameter is 0; where lanes differ in it, it is on for all, and 0 changes nothing by itself."""
    return not isinstance(value, Tensor) and value == 0


def augment_batch(x: Tensor, strength: Value, policy: AugmentPolicy, noise: Noise) -> Tensor:
    """Change every image of a batch in its own way.

    Args:
        x: (B, C, H, W) float in [0, 1].
        strength: multiplies every range and probability of the policy but that of the flip.
        policy: the ranges at strength 1.
        noise: the same key gives the same result.

    Returns:
        (B, C, H, W) float in [0, 1]; `x` itself at strength 0.
    """
    if is_off(strength):
        noise.skip(DRAWS * len(x))
        return x
    # Uniform in [-1, 1): all that any step needs, in one draw.
    u = noise.uniform((DRAWS, len(x)), x) * 2 - 1
    if not all(map(is_off, (policy.shift, policy.rotate, policy.scale, policy.shear))):
        x = _affine(x, u[:6], strength, policy)
    elif policy.flip:
        x = torch.where(_flipped(u[5], strength).view(-1, 1, 1, 1), x.flip(-1), x)
    if not is_off(policy.jitter):
        x = _jitter(x, u[6:8], strength * policy.jitter)
    if not is_off(policy.erase):
        x = _erase(x, u[8:13], strength * policy.erase)
    return x


def _affine(x: Tensor, u: Tensor, strength: Value, policy: AugmentPolicy) -> Tensor:
    """Shift, rotate, zoom, shear and flip in a single resampling; what comes from outside is 0."""
    height, width = x.shape[-2:]
    angle = u[0] * (math.pi / 180) * (strength * policy.rotate)
    shear = u[1] * (math.pi / 180) * (strength * policy.shear)
    # Sampling coordinates zoom inversely to the image, which a symmetric draw makes no matter.
    # A power, written so that its bits do not depend on where in a vector it stands.
    zoom = torch.exp(torch.log1p(torch.ones_like(u[2]) * (strength * policy.scale)) * u[2])
    cos, sin, tan = angle.cos() * zoom, angle.sin() * zoom, shear.tan()
    mirror = torch.where(_flipped(u[5], strength), -1.0, 1.0).to(x.dtype) if policy.flip else 1.0
    # Coordinates run from -1 to 1 on both sides, so the rotation of a picture that is no square must
    # convert them to pixels and back.
    aspect = height / width
    right = torch.arange(1, 2 * width, 2, device=x.device, dtype=x.dtype) / width - 1
    down = torch.arange(1, 2 * height, 2, device=x.device, dtype=x.dtype).unsqueeze(1) / height - 1
    # By hand: torch's affine_grid has no rule for torch.vmap.
    columns = _linear(cos * mirror, right, (cos * tan - sin) * aspect, down, 2 * strength * policy.shift * u[3])
    rows = _linear(sin * mirror / aspect, right, sin * tan + cos, down, 2 * strength * policy.shift * u[4])
    grid = torch.stack([columns, rows], dim=-1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _linear(a: Tensor, right: Tensor, b: Tensor, down: Tensor, c: Tensor) -> Tensor:
    """Return a * right + b * down + c (B, H, W) for coefficients (B,), columns (W,) and rows (H, 1)."""
    a, b, c = (coefficient.view(-1, 1, 1) for coefficient in (a, b, c))
    return a * right + (b * down + c)


def _flipped(u: Tensor, strength: Value) -> Tensor:
    """Choose half of the images (B,); none of a lane whose strength is 0."""
    return (u < 0) & (strength > 0) if isinstance(strength, Tensor) else u < 0


def _jitter(x: Tensor, u: Tensor, jitter: Value) -> Tensor:
    """Scale the contrast around each image's mean and add to its brightness."""
    brightness, contrast = (jitter * u).view(2, -1, 1, 1, 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return torch.clamp((x - mean) * (1 + contrast) + mean + brightness, 0, 1)


def _erase(x: Tensor, u: Tensor, probability: Value) -> Tensor:
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


@dataclass(frozen=True)
class Mixing:
    """What mixing a batch draws.

    Attributes:
        lam: (B,) share that each image keeps of itself; 1 leaves it alone.
        partner: (B,) int64, whom each is mixed with.
        centre: (2, B) in [0, 1), row and column of the box's middle as shares of the sides.
        cut: () bool, whether boxes are pasted (CutMix) or images blended (mixup).
    """

    lam: Tensor
    partner: Tensor
    centre: Tensor
    cut: Tensor


def draw_mixing(count: int, alpha_mixup: float, alpha_cutmix: float, rng: np.random.Generator, like: Tensor) -> Mixing:
    """Draw for mixup or CutMix; where both are on, a fair coin chooses for each batch; where neither, nothing changes.

    Args:
        count: images in the batch, B.
        alpha_mixup: of Beta(alpha, alpha); 0 is off.
        alpha_cutmix: of Beta(alpha, alpha); 0 is off.
        rng: the same state gives the same result. NumPy's, since Beta takes a number of draws that is not fixed.
        like: what type and device the shares have.
    """
    cut = alpha_cutmix > 0 and (alpha_mixup == 0 or bool(rng.random() < 0.5))
    alpha = alpha_cutmix if cut else alpha_mixup
    shares = rng.beta(alpha, alpha, (1, count)) if alpha else np.ones((1, count))
    draws = torch.from_numpy(np.concatenate([shares, rng.random((2, count))])).to(like)
    partner = torch.from_numpy(rng.permutation(count)).to(like.device)
    return Mixing(draws[0], partner, draws[1:], torch.tensor(cut, device=like.device))


def mix_batch(x: Tensor, targets: Tensor, mixing: Mixing) -> tuple[Tensor, Tensor]:
    """Apply mixup or CutMix to a batch.

    Args:
        x: (B, C, H, W) float.
        targets: (B, classes) probabilities.
        mixing: what was drawn for this batch.
    """
    pasted, blended = (
        cutmix(x, targets, mixing.lam, mixing.partner, mixing.centre),
        mixup(x, targets, mixing.lam, mixing.partner),
    )
    return torch.where(mixing.cut, pasted[0], blended[0]), torch.where(mixing.cut, pasted[1], blended[1])
