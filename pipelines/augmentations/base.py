"""What every augmentation is made of: its section, and a function that writes copies of the training set."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from pipelines.section import Section

PREVIEW = "preview.png"
Tensors = dict[str, NDArray[Any]]


class CopiesConfig(Section):
    """What every section `datasets.<key>.augment` has: copies of the training set, made once and versioned."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of all augmentation")
    copies: int = Field(default=0, ge=0, le=64, description="augmented copies of the training set, beside itself")


Options = TypeVar("Options", bound=BaseModel)


@dataclass(frozen=True)
class Augmentation(Generic[Options]):
    """One way to augment a training set.

    Attributes:
        Config: what may be asked of it.
        write: `write(train, config, folder, card)` writes `train.safetensors` (x and y of the copies, the first copy
            of all examples, then the second) and `preview.png` into `folder`; returns how many examples it made.
            What becomes of an example depends on (seed, copy, index) and on no process.
    """

    Config: type[Options]
    write: Callable[[Tensors, Options, Path, dict[str, Any]], int]


def write_copies(folder: Path, x: NDArray[Any], y: NDArray[Any]) -> int:
    """Write `train.safetensors` with inputs x (M, ...) and targets y (M, ...), and return M."""
    from safetensors.numpy import save_file

    save_file({"x": np.ascontiguousarray(x), "y": np.ascontiguousarray(y)}, folder / "train.safetensors")
    return len(x)
