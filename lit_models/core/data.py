"""The one data module: prepared tensors, memory-mapped, served in whole batches."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from safetensors import safe_open
from torch import Tensor

from lit_models.core.config import FamilyConfig
from lit_models.core.sampling import SAMPLERS, Sampler
from lit_models.forms import load_spec
from lit_models.specs.base import DataSpec

Batch = tuple[Tensor, Tensor, Tensor]

# Below this many bytes a split is held in memory (and on a GPU, in its memory); above, it stays on disk.
IN_MEMORY = 1 << 30
EVAL_BATCH = 1024


def read_split(path: Path, spec: DataSpec) -> tuple[Tensor, Tensor]:
    """Read inputs `x` (N, ...) and targets `y` (N, ...) from a safetensors file, memory-mapped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a tensor is missing, or not as data of this form are.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no prepared data at {path}")
    with safe_open(path, framework="pt") as file:
        if not {"x", "y"} <= set(file.keys()):
            raise ValueError(f"{path} must hold the tensors x and y")
        x, y = file.get_tensor("x"), file.get_tensor("y")
    if fault := spec.fault(x, y):
        raise ValueError(f"{path} {fault}")
    return (x.clone(), y.clone()) if x.nbytes < IN_MEMORY else (x, y)


def training_set(
    prepared: Path, augmented: Path | None, fit_on: Literal["train", "train+val"], spec: DataSpec
) -> tuple[Tensor, Tensor]:
    """Read the training set, inputs `x` (N, ...) and targets `y` (N, ...), augmented copies and all.

    A set of several parts must fit into memory; one of a single part may stay on disk.

    Raises:
        FileNotFoundError, ValueError: a folder is not as promised.
    """
    parts = [read_split(prepared / "train.safetensors", spec)]
    if fit_on == "train+val":
        parts.append(read_split(prepared / "val.safetensors", spec))
    if augmented is not None:
        parts.append(read_split(augmented / "train.safetensors", spec))
    parts = [parts[0], *(part for part in parts[1:] if len(part[1]))]
    x, y = parts[0] if len(parts) == 1 else (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    if not len(y):
        raise ValueError(f"the training set in {prepared} is empty")
    return x, y


class Batches:
    """Serves `(x, y, index)` by index_select: inputs (B, ...), targets (B, ...), and index (B,) int64."""

    # Whether a last batch of one is left out.
    skip_single = False

    def __init__(self, x: Tensor, y: Tensor, batch_size: int) -> None:
        self.x, self.y = x, y
        self.batch_size = batch_size

    def order(self) -> Tensor:
        """Return the indices (N,) in the order they are served."""
        return torch.arange(len(self.y))

    def __len__(self) -> int:
        full, rest = divmod(len(self.y), self.batch_size)
        skip = rest == 1 and full > 0 and self.skip_single
        return full + (rest > 0 and not skip)

    def __iter__(self) -> Iterator[Batch]:
        order = self.order().to(self.x.device)
        for index in torch.split(order, self.batch_size)[: len(self)]:
            yield self.x.index_select(0, index), self.y.index_select(0, index), index


class TrainBatches(Batches):
    """Serves the training set as its sampler orders it; `epoch` is set before each pass."""

    # A batch of one has no variance that batch norm could divide by; another epoch will serve that sample.
    skip_single = True

    def __init__(self, x: Tensor, y: Tensor, batch_size: int, sampler: Sampler) -> None:
        super().__init__(x, y, batch_size)
        self.sampler = sampler
        self.epoch = 0

    def order(self) -> Tensor:
        """Return the sampler's order of this epoch."""
        return self.sampler.order(self.epoch)


class PreparedData(pl.LightningDataModule):
    """Training, validation and test batches of one prepared data set.

    Args:
        prepared: folder with card.json and {train,val,test}.safetensors.
        augmented: folder whose train.safetensors is appended to the training set, or None. A training set
            of several parts must fit into memory; one of a single part may stay on disk.
        config: where batch size and sampling come from.
        seed: of the batches; together with the epoch it determines them.
        fit_on: "train+val" adds the validation set to the training set and leaves nothing to validate on.

    Raises:
        FileNotFoundError, ValueError: the folder is not as promised.
    """

    def __init__(
        self,
        prepared: Path,
        augmented: Path | None,
        config: FamilyConfig,
        seed: int,
        fit_on: Literal["train", "train+val"] = "train",
    ) -> None:
        super().__init__()
        self.prepared = prepared
        self.seed = seed
        self.spec = load_spec(prepared)
        x, y = training_set(prepared, augmented, fit_on, self.spec)
        self.train = TrainBatches(x, y, config.batch_size, SAMPLERS[config.sampling](self.spec.labels(y), seed))
        self.val = (
            None if fit_on == "train+val" else Batches(*read_split(prepared / "val.safetensors", self.spec), EVAL_BATCH)
        )

    def setup(self, stage: str) -> None:
        """Move small sets to the device that trains, once, instead of batch by batch."""
        del stage
        if self.trainer is not None:
            self._move(self.trainer.strategy.root_device)

    def teardown(self, stage: str) -> None:
        """Bring them back."""
        del stage
        self._move(torch.device("cpu"))

    def _move(self, device: torch.device) -> None:
        for batches in (self.train, self.val):
            if batches is not None and batches.x.nbytes < IN_MEMORY:
                batches.x, batches.y = batches.x.to(device), batches.y.to(device)

    def train_dataloader(self) -> TrainBatches:
        """Return the training batches."""
        return self.train

    def val_dataloader(self) -> Batches | list[Batches]:
        """Return the validation batches, if any."""
        return [] if self.val is None else self.val

    def test_dataloader(self) -> Batches:
        """Return the test batches."""
        return Batches(*read_split(self.prepared / "test.safetensors", self.spec), EVAL_BATCH)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch without Lightning's walk through arbitrary collections."""
        del dataloader_idx
        x, y, index = batch
        return x.to(device), y.to(device), index.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state."""
        return self.train.sampler.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up the sampler's state."""
        self.train.sampler.load_state_dict(state_dict)
