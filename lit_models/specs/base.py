"""What a model must know of the data it is built for. Each form of data has a spec of its own; forms.py lists them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor


class DataSpec(ABC):
    """What all forms of data have in common.

    Attributes:
        form: what kind of tensors the data are; families say which forms they take.
        classes: number of classes; labels run from 0 to classes - 1. 0 where a target is no class.
    """

    form: ClassVar[str]
    classes: int

    @classmethod
    @abstractmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take what the card of a prepared folder says.

        Raises:
            KeyError: the card lacks a key.
            ValueError: it holds an impossible value.
        """

    @abstractmethod
    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Make inputs and targets of `count` examples, all zero, on torch's default device."""

    @abstractmethod
    def fault(self, x: Tensor, y: Tensor) -> str:
        """Say what is wrong with these tensors as data of this form; nothing if they are right."""

    def example(self, count: int) -> Tensor:
        """Make what a trained model may be given: as the inputs of training, but for forms that say otherwise."""
        return self.blank(count)[0]

    def labels(self, y: Tensor) -> Tensor:
        """Return a label (N,) int64 for each example, for samplers; 0 for all where targets are no classes."""
        return y if self.classes else torch.zeros(len(y), dtype=torch.int64, device=y.device)


@dataclass(frozen=True)
class ImageSpec(DataSpec):
    """Shape and pixel statistics of images. `x` (N, C, H, W) uint8, `y` (N,) int64.

    A network sees `(x / scale - mean) / std`, channel by channel.

    Attributes:
        shape: (channels, height, width) of one image.
        classes: number of classes; labels run from 0 to classes - 1.
        mean: mean of `x / scale` over the training set, one number a channel.
        std: standard deviation of `x / scale` over the training set, one positive number a channel.
        scale: the raw value that becomes 1.0 (255 for photographs, 16 for scikit-learn's digits).
    """

    form: ClassVar[str] = "image"

    shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    def __post_init__(self) -> None:
        """Refuse statistics that no network could be built on.

        Raises:
            ValueError: naming the field that is wrong.
        """
        if min(self.shape) < 1:
            raise ValueError(f"shape must be three positive numbers (channels, height, width), not {self.shape}")
        if self.classes < 1:
            raise ValueError(f"classes must be at least 1, not {self.classes}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.shape[0]:
                raise ValueError(f"{name} has {len(values)} values for {self.shape[0]} channels")
        if min(self.std) <= 0 or self.scale <= 0:
            raise ValueError("std and scale must be positive")

    @classmethod
    def read(cls, folder: Path, card: dict[str, Any]) -> Self:
        """Take shape, classes and statistics from the card."""
        channels, height, width = card["shape"]
        return cls(
            shape=(int(channels), int(height), int(width)),
            classes=len(card["classes"]),
            mean=tuple(float(value) for value in card["mean"]),
            std=tuple(float(value) for value in card["std"]),
            scale=float(card["scale"]),
        )

    def blank(self, count: int) -> tuple[Tensor, Tensor]:
        """Make black images (count, C, H, W) uint8 and labels (count,) int64."""
        return torch.zeros((count, *self.shape), dtype=torch.uint8), torch.zeros(count, dtype=torch.int64)

    def fault(self, x: Tensor, y: Tensor) -> str:
        """Want uint8 images and a label each."""
        right = x.dtype == torch.uint8 and x.dim() == 4 and y.dtype == torch.int64 and y.shape == x.shape[:1]
        return "" if right else "must hold x (N, C, H, W) uint8 and y (N,) int64"
