"""The augmentation policy: what becomes of an image depends on (seed, copy, index) and on no process.

Images are changed by what augments them on the fly too (lit_models/core/augment.py). torchvision would do as well, but
where it is installed every process that imports Lightning imports it, and half of torch's compiler with it: a third of
the time that imports take.
"""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipelines.augmentations.base import CopiesConfig

if TYPE_CHECKING:
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
    scale: float = Field(default=0, ge=0, le=0.9, description="largest zoom in or out, as a fraction")
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

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # images are small, and the number of threads must not matter
    try:
        seeds = [image_seed(config.seed, copy, first + position) for position in range(len(x))]
        keys = torch.from_numpy(np.array(seeds, np.int64).astype(np.int32))
        unit = torch.from_numpy(x) / white
        changed = torch.vmap(lambda image, key: _changed(image, key, config))(unit, keys)
        out: NDArray[np.uint8] = (changed * white).round().clamp(0, white).to(torch.uint8).numpy()
        return out
    finally:
        torch.set_num_threads(threads)


def _changed(image: "Tensor", key: "Tensor", config: ImageAugmentConfig) -> "Tensor":
    """Change one image (C, H, W) in [0, 1] by what its key draws."""
    import torch

    from lit_models.core.augment import AugmentPolicy, augment_batch
    from lit_models.core.noise import Noise

    noise = Noise(key)
    mirrored, down, right = noise.uniform((3,), image).unbind()
    if config.crop:
        image = _cropped(image, config.crop, down, right)
    if config.flip:
        image = torch.where(mirrored < config.flip, image.flip(-1), image)
    policy = AugmentPolicy(
        shift=config.translate,
        rotate=config.rotate,
        scale=config.scale,
        shear=config.shear,
        erase=config.erase,
        jitter=config.jitter,
    )
    return augment_batch(image.unsqueeze(0), 1.0, policy, noise).squeeze(0)


def _cropped(image: "Tensor", border: int, down: "Tensor", right: "Tensor") -> "Tensor":
    """Cut an image of the same size out of one with a black border, at a place drawn as shares of what there is."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    height, width = image.shape[-2:]
    rows = torch.arange(height) + (down * (2 * border + 1)).long()
    columns = torch.arange(width) + (right * (2 * border + 1)).long()
    return F.pad(image, (border,) * 4).index_select(1, rows).index_select(2, columns)
