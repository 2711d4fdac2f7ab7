"""What every dataset is made of: a configuration, the raw bytes it fetches, the examples in them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Generic, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from pipelines.faults import Fault
from pipelines.section import Section

Checksum = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")]
"""`sha256:` or `md5:` and the digest in small hexadecimal digits."""


class PrepareConfig(Section):
    """The section `datasets.<key>.prepare`: how raw bytes become training, validation and test parts."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the split")
    val: float = Field(
        default=0.15, gt=0, lt=1, description="fraction for validation, of what is not an official test set"
    )
    test: float = Field(default=0.15, gt=0, lt=1, description="fraction for testing; unused with an official test set")
    official_test: bool = Field(default=True, description="test on the dataset's own test set, where it has one")
    size: int | None = Field(default=None, ge=4, le=1024, description="height and width to resize to, in pixels")
    channels: Literal["gray", "rgb"] | None = Field(default=None, description="colours to convert to; null keeps them")
    limit: int | None = Field(
        default=None, ge=3, description="use the first n examples of each class, for a quick look"
    )

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(
                f"val + test is {self.val + self.test:g}; it must be below 1, or nothing is left to train on"
            )
        return self


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


@dataclass(frozen=True)
class Dataset(Generic[Fetch]):
    """One kind of dataset: two functions and the configuration of the first.

    Attributes:
        name: the kind, as params.yaml writes it.
        FetchConfig: where the raw bytes come from.
        fetch: `fetch(config, folder, base)` writes raw bytes and `manifest.json` into the empty `folder`;
            relative paths in `config` count from `base`. Raises Fault.
        read: `read(raw, config)` checks what `fetch` wrote and turns it into examples. Raises Fault naming
            the file, and the byte offset where there is one.
        shape: `shape(config)` is what `read` will give, (channels, height, width); None if only the data say.
    """

    name: str
    FetchConfig: type[Fetch]
    fetch: Callable[[Fetch, Path, Path], None]
    read: Callable[[Path, PrepareConfig], Examples]
    shape: Callable[[PrepareConfig], tuple[int, int, int] | None]


def always(channels: int, side: int) -> Callable[[PrepareConfig], tuple[int, int, int]]:
    """The `shape` of a dataset whose images are all (channels, side, side) before `size` and `channels`."""

    def shape(config: PrepareConfig) -> tuple[int, int, int]:
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
