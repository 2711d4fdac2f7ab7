"""Image files of any mode to uint8 arrays of one shape."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.faults import Fault

if TYPE_CHECKING:
    from PIL.Image import Image

Channels = Literal["gray", "rgb"]
WIDE_GRAY = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of 16-bit gray PNG files."""


def decode_all(paths: Sequence[Path], size: int | None, channels: Channels) -> NDArray[np.uint8]:
    """Images (N, C, H, W) with C 1 or 3; H and W are `size`, or what all of the files have.

    Raises:
        Fault: a file is corrupt or too large, or the sizes differ and `size` is None; the file is named.
    """
    out: NDArray[np.uint8] | None = None
    for position, path in enumerate(paths):
        image = decode(path, size, channels)
        if out is None:
            out = np.empty((len(paths), *image.shape), np.uint8)
        if image.shape != out.shape[1:]:
            (_, height, width), (_, high, wide) = image.shape, out.shape[1:]
            raise Fault(
                f"{path} has {width}x{height} pixels but {paths[0]} has {wide}x{high};"
                " set `size` to bring all images to one size"
            )
        out[position] = image
    if out is None:
        raise Fault("there are no images to decode")
    return out


def decode(path: Path, size: int | None, channels: Channels) -> NDArray[np.uint8]:
    """One image, (C, H, W), upright as its EXIF says, on white where transparent.

    With a size, the shorter side is brought to it, antialiased, and the centre is cut out.

    Raises:
        Fault: the file is corrupt, cut off, or so large that it must be a decompression bomb.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to stop…
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # …this is
            with Image.open(path, formats=("PNG", "JPEG")) as file:
                file.load()
                image = _flat(ImageOps.exif_transpose(file)).convert("L" if channels == "gray" else "RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Fault(f"{path} is too large to be decoded safely: {error}") from error
    except Exception as error:  # a decoder of broken bytes may raise anything
        if "truncated" in str(error):
            raise Fault(f"{path} is cut off at byte offset {path.stat().st_size}") from error
        raise Fault(f"{path} is no image that can be decoded: {error or type(error).__name__}") from error
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _flat(image: "Image") -> "Image":
    """Without transparency and without more than 8 bits a channel."""
    from PIL import Image

    if image.mode in WIDE_GRAY:
        # Pillow would clip at 255 instead of scaling.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA"))
    return image
