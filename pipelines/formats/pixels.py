"""Sizes and colours: what ImagePrepareConfig asks for, done to images that are already arrays."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipelines.formats.images import Examples, ImagePrepareConfig, first_of_each

LUMA = (19595, 38470, 7471)
"""ITU-R BT.601 weights of red, green and blue in 1/65536, as Pillow has them."""


def finish(examples: Examples, config: ImagePrepareConfig) -> Examples:
    """Apply `limit`, `size` and `channels`, each if it is set."""
    if config.limit is not None:
        examples = examples.take(first_of_each(examples.y, config.limit, examples.official_test))
    x = examples.x
    if config.size is not None and x.shape[2:] != (config.size, config.size):
        x = resized(x, config.size)
    if config.channels is not None:
        x = recoloured(x, 1 if config.channels == "gray" else 3)
    return examples if x is examples.x else replace(examples, x=x)


def resized(x: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Images (N, C, H, W) to (N, C, size, size): shorter side to `size`, antialiased, then the centre."""
    from PIL import Image, ImageOps

    out = np.empty((*x.shape[:2], size, size), np.uint8)
    for image, target in zip(x.reshape(-1, *x.shape[2:]), out.reshape(-1, size, size), strict=True):
        target[:] = ImageOps.fit(Image.fromarray(image), (size, size), Image.Resampling.BILINEAR)
    return out


def recoloured(x: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Images (N, C, H, W) with 1 or 3 channels to the other: gray is repeated, colours become their luma."""
    if x.shape[1] == channels:
        return x
    if channels == 3:
        return np.repeat(x, 3, axis=1)
    out = np.empty((len(x), 1, *x.shape[2:]), np.uint8)
    for start in range(0, len(x), 1024):  # the sum needs four bytes a pixel: not for all images at once
        part = x[start : start + 1024].astype(np.uint32)
        total = sum(weight * part[:, channel] for channel, weight in enumerate(LUMA))
        out[start : start + 1024, 0] = (total + 0x8000) >> 16
    return out
