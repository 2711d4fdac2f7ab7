"""What a model must know of the data set it is built for."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataSpec:
    """Shape and pixel statistics of a prepared data set.

    Pixels arrive as raw uint8; a network sees `(x / scale - mean) / std`, channel by channel.

    Attributes:
        shape: (channels, height, width) of one image.
        classes: number of classes; labels run from 0 to classes - 1.
        mean: mean of `x / scale` over the training set, one number a channel.
        std: standard deviation of `x / scale` over the training set, one positive number a channel.
        scale: the raw value that becomes 1.0 (255 for photographs, 16 for scikit-learn's digits).
    """

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


def load_spec(prepared: Path) -> DataSpec:
    """Read `card.json` of a prepared folder.

    Raises:
        FileNotFoundError: the folder holds no card.json.
        ValueError: the card lacks a key or holds impossible values.
    """
    path = prepared / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    try:
        channels, height, width = card["shape"]
        return DataSpec(
            shape=(int(channels), int(height), int(width)),
            classes=len(card["classes"]),
            mean=tuple(float(value) for value in card["mean"]),
            std=tuple(float(value) for value in card["std"]),
            scale=float(card["scale"]),
        )
    except KeyError as error:
        raise ValueError(f"{path} lacks the key {error}") from None
