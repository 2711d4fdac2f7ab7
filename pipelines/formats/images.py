"""What datasets of labelled images share: their section `prepare`, their examples, how those are split and written."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from pipelines.faults import Fault
from pipelines.formats.base import Dataset, SplitConfig

if TYPE_CHECKING:
    from lit_models.specs.base import ImageSpec


class ImagePrepareConfig(SplitConfig):
    """The section `datasets.<key>.prepare` of images."""

    official_test: bool = Field(default=True, description="test on the dataset's own test set, where it has one")
    size: int | None = Field(default=None, ge=4, le=1024, description="height and width to resize to, in pixels")
    channels: Literal["gray", "rgb"] | None = Field(default=None, description="colours to convert to; null keeps them")
    limit: int | None = Field(
        default=None, ge=3, description="use the first n examples of each class, for a quick look"
    )


@dataclass(frozen=True)
class Examples:
    """Labelled images in raw order.

    Attributes:
        x: pixels, uint8 (N, C, H, W), from 0 to `scale`.
        y: labels, int64 (N,), from 0 to `len(classes) - 1`.
        classes: a name for each label.
        scale: the pixel value that stands for 1.0.
        index: position in raw order, int64 (N,); counts up without a gap unless `limit` left some out.
        names: for files, the relative path of each example.
        official_test: True (N,) where the dataset's makers meant an example for testing; None if they did
            not say.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    scale: float
    index: NDArray[np.int64]
    names: list[str] | None = None
    official_test: NDArray[np.bool_] | None = None

    def take(self, kept: NDArray[np.int64]) -> "Examples":
        """Just the examples at the positions `kept`, int64 (M,)."""
        return replace(
            self,
            x=self.x[kept],
            y=self.y[kept],
            index=self.index[kept],
            names=None if self.names is None else [self.names[i] for i in kept],
            official_test=None if self.official_test is None else self.official_test[kept],
        )


Fetch = TypeVar("Fetch", bound=BaseModel)
Shape = tuple[int, int, int]


def image_dataset(
    name: str,
    config: type[Fetch],
    fetch: Callable[[Fetch, Path, Path], None],
    read: Callable[[Path, ImagePrepareConfig], Examples],
    shape: Callable[[ImagePrepareConfig], Shape | None],
) -> Dataset[Fetch, ImagePrepareConfig]:
    """Make a kind of dataset of a function that reads images.

    Args:
        name: the kind, as params.yaml writes it.
        config: where the raw bytes come from.
        fetch: as `Dataset` has it.
        read: `read(raw, config)` checks what `fetch` wrote and turns it into examples. Raises Fault naming
            the file, and the byte offset where there is one.
        shape: `shape(config)` is what `read` will give, (channels, height, width); None if only the data say.
    """

    def prepare(raw: Path, config: ImagePrepareConfig, folder: Path) -> str:
        from pipelines.formats.image_writer import write_images
        from pipelines.formats.splits import split

        examples = read(raw, config)
        official = examples.official_test if config.official_test else None
        parts = split(examples.y, official, config, examples.classes)
        write_images(examples, parts, folder, config.seed)
        sizes = ", ".join(f"{len(indices)} {part}" for part, indices in parts.items())
        return f"{sizes}; {len(examples.classes)} classes, images {examples.x.shape[1:]}"

    def sketch(fetch_config: Any, config: ImagePrepareConfig) -> "ImageSpec | None":
        del fetch_config
        from lit_models.specs.base import ImageSpec

        known = shape(config)
        if known is None:
            return None
        return ImageSpec(known, classes=2, mean=(0.0,) * known[0], std=(1.0,) * known[0], scale=255.0)

    return Dataset(name, "image", "image", config, ImagePrepareConfig, fetch, prepare, sketch)


def always(channels: int, side: int) -> Callable[[ImagePrepareConfig], Shape]:
    """The `shape` of a dataset whose images are all (channels, side, side) before `size` and `channels`."""

    def shape(config: ImagePrepareConfig) -> Shape:
        wanted = {None: channels, "gray": 1, "rgb": 3}[config.channels]
        return wanted, config.size or side, config.size or side

    return shape


def first_of_each(y: NDArray[np.int64], limit: int, official_test: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Ascending positions of the first `limit` examples of each class (in each official part)."""
    group = y if official_test is None else y * 2 + official_test
    kept = [np.flatnonzero(group == one)[:limit] for one in np.unique(group)]
    return np.sort(np.concatenate(kept)).astype(np.int64)


def same_length(images: int, labels: int, source: str) -> None:
    """Refuse a set whose images and labels do not pair up, or that is empty.

    Raises:
        Fault: `images` and `labels` differ, or are 0.
    """
    if images != labels:
        raise Fault(f"{source} has {images} images but {labels} labels")
    if images == 0:
        raise Fault(f"{source} has no examples")
