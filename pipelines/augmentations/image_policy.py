"""The augmentation policy: what becomes of an image depends on (seed, copy, index) and on no process."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.augmentations.base import CopiesConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WORTH_IMAGES, WORTH_BYTES = 60_000, 1 << 28
"""From this much on, starting processes pays: each takes seconds to import torch."""
SHARE_IMAGES, SHARE_BYTES = 2_000, 1 << 25
"""What a process augments at most before it asks for more."""


class ImageAugmentConfig(CopiesConfig):
    """The section `datasets.<key>.augment` of images."""

    crop: int = Field(default=0, ge=0, le=64, description="black border, in pixels, to crop at random from")
    flip: float = Field(default=0, ge=0, le=1, description="probability of a mirror image, left to right")
    rotate: float = Field(default=0, ge=0, le=180, description="largest rotation either way, in degrees")
    translate: float = Field(default=0, ge=0, le=0.5, description="largest shift, as a fraction of the side")
    scale: float = Field(default=0, ge=0, le=0.9, description="largest change of size, as a fraction")
    shear: float = Field(default=0, ge=0, le=60, description="largest shear either way, in degrees")
    erase: float = Field(default=0, ge=0, le=1, description="probability of blacking out a rectangle")
    jitter: float = Field(
        default=0, ge=0, le=0.9, description="largest change of brightness and of contrast, as a fraction"
    )


def augment_images(
    x: NDArray[np.uint8], config: ImageAugmentConfig, workers: int = 1, *, white: float = 255
) -> NDArray[np.uint8]:
    """Augmented copies of images, the same bytes on any number of processes.

    Args:
        x: images (N, C, H, W), C 1 or 3.
        config: the policy.
        workers: processes to use at most, where there are images enough to be worth it.
        white: the pixel value that stands for 1.0 (`scale` in card.json): nothing gets brighter than that.

    Returns:
        uint8 (copies * N, C, H, W): the first copy of all images, then the second, and so on.
    """
    out = np.empty((config.copies, *x.shape), np.uint8)
    flat = out.reshape(-1, *x.shape[1:])
    shares = list(_shares(x, config.copies))
    if workers < 2 or (len(flat) < WORTH_IMAGES and flat.nbytes < WORTH_BYTES):
        for copy, start, stop in shares:
            out[copy, start:stop] = _augment(x[start:stop], config, copy, start, white)
        return flat
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(min(workers, len(shares)), mp_context=get_context("spawn")) as pool:
        running = [pool.submit(_augment, x[start:stop], config, copy, start, white) for copy, start, stop in shares]
        for (copy, start, stop), share in zip(shares, running, strict=True):
            out[copy, start:stop] = share.result()
    return flat


def image_seed(seed: int, copy: int, index: int) -> int:
    """The seed of one image's augmentation, 63 bits, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{copy}/{index}".encode()).digest()[:8]) >> 1


def _shares(x: NDArray[np.uint8], copies: int) -> Iterator[tuple[int, int, int]]:
    """(copy, start, stop), covering every image of every copy."""
    step = max(1, min(SHARE_IMAGES, SHARE_BYTES // max(1, x[:1].nbytes)))
    for copy in range(copies):
        for start in range(0, len(x), step):
            yield copy, start, min(start + step, len(x))


def _augment(
    x: NDArray[np.uint8], config: ImageAugmentConfig, copy: int, first: int, white: float
) -> NDArray[np.uint8]:
    """One copy of a share of the images, whose first is number `first` of all."""
    import torch

    out = np.empty_like(x)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # images are small, and the number of threads must not matter
    try:
        transform = _transform(config, x.shape[2], x.shape[3])
        with torch.random.fork_rng(devices=[]):
            for position, image in enumerate(x):
                torch.default_generator.manual_seed(image_seed(config.seed, copy, first + position))
                out[position] = transform(torch.from_numpy(image.copy())).numpy()
    finally:
        torch.set_num_threads(threads)
    return np.minimum(out, np.uint8(white))


def _transform(config: ImageAugmentConfig, height: int, width: int) -> "Callable[[Tensor], Tensor]":
    """The policy as one torchvision transform of (C, H, W) uint8 tensors; what is off is left out."""
    from torchvision.transforms import v2

    steps: list[Any] = []
    if config.crop:
        steps.append(v2.RandomCrop((height, width), padding=config.crop))
    if config.flip:
        steps.append(v2.RandomHorizontalFlip(config.flip))
    if config.rotate or config.translate or config.scale or config.shear:
        steps.append(
            v2.RandomAffine(
                degrees=config.rotate,
                translate=(config.translate, config.translate) if config.translate else None,
                scale=(1 - config.scale, 1 + config.scale) if config.scale else None,
                shear=config.shear or None,
                interpolation=v2.InterpolationMode.BILINEAR,
            )
        )
    if config.jitter:
        steps.append(v2.ColorJitter(brightness=config.jitter, contrast=config.jitter))
    if config.erase:
        steps.append(v2.RandomErasing(config.erase))

    def augment(image: "Tensor") -> "Tensor":
        for step in steps:
            image = step(image)
        return image

    return augment
