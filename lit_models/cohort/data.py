"""The data of a cohort: read once, served to every lane in its own order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lit_models.core.data import EVAL_BATCH, read_split, training_set
from lit_models.forms import load_spec
from lit_models.specs.base import DataSpec


@dataclass(frozen=True)
class CohortData:
    """Training and validation set of one prepared data set.

    Attributes:
        x: inputs (N, ...).
        y: targets (N, ...).
        val_x: inputs (M, ...).
        val_y: targets (M, ...).
        spec: what a model must know of them.
    """

    x: Tensor
    y: Tensor
    val_x: Tensor
    val_y: Tensor
    spec: DataSpec

    @classmethod
    def read(cls, prepared: Path, augmented: Path | None, fit_on: Literal["train"] = "train") -> "CohortData":
        """Read a prepared folder and its augmented training set.

        Raises:
            FileNotFoundError, ValueError: the folder is not as promised.
        """
        spec = load_spec(prepared)
        x, y = training_set(prepared, augmented, fit_on, spec)
        return cls(x, y, *read_split(prepared / "val.safetensors", spec), spec)

    def to(self, device: torch.device) -> "CohortData":
        """Move everything to a device."""
        return CohortData(self.x.to(device), self.y.to(device), self.val_x.to(device), self.val_y.to(device), self.spec)

    def batches(self, batch_size: int) -> int:
        """Count an epoch's batches; a last batch of one is left out, as batch norm could not divide by its variance."""
        full, rest = divmod(len(self.y), batch_size)
        return full + (rest > 0 and not (rest == 1 and full > 0))

    def validation(self, count: int = EVAL_BATCH) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the validation set in batches of `count`."""
        yield from zip(torch.split(self.val_x, count), torch.split(self.val_y, count), strict=True)
