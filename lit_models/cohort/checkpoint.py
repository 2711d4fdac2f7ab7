"""A cohort on disk: one safetensors file, its record in the header, swapped in whole."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from lit_models.cohort.record import Record


def write(path: Path, record: Record, state: Mapping[str, Tensor]) -> None:
    """Write a checkpoint so that a kill or a full disk leaves the old one or the new one, never a part.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            file.write(
                save({name: value.contiguous().cpu() for name, value in state.items()}, {"record": record.text()})
            )
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[Record, dict[str, Tensor]] | None:
    """Read a checkpoint, or None if there is none."""
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        record = Record.parse(file.metadata()["record"])
        # Cloned, so that the file may be replaced while its tensors are in use.
        return record, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118


def read_record(path: Path) -> Record | None:
    """Read a checkpoint's record alone, or None if there is none."""
    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        return Record.parse(file.metadata()["record"])
