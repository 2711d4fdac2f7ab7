"""A cohort on disk: one safetensors file, swapped in whole.

The record's figures are tensors, a row for each epoch of each lane, and the small rest is JSON in the header: a header
may not grow beyond 100 MB, and numbers written out as text are slow. Whoever reads without torch finds

    record.figures   (rows, columns) float64, lane after lane in the header's order
    record.seconds   (epochs,) float64
    header           {"record": "{epoch, lanes: {trial: {epochs: count, ...}}, columns: [names], ...}"}

A file that cannot be read counts as none: it is moved aside as `<name>.broken`, where it can be looked at.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lit_models.cohort.engine import Figures
from lit_models.cohort.record import Record

COLUMNS = [field.name for field in fields(Figures)]
PREFIX = "record."


def write(path: Path, record: Record, state: Mapping[str, Tensor]) -> None:
    """Write a checkpoint so that a kill or a full disk leaves the old one or the new one, never a part.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    tensors = {**state, **_figures(record)}
    try:
        with part.open("wb") as file:
            file.write(save({name: value.contiguous().cpu() for name, value in tensors.items()}, _header(record)))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _header(record: Record) -> dict[str, str]:
    lanes = {trial: {**vars(lane), "epochs": len(lane.epochs)} for trial, lane in record.lanes.items()}
    rest = {name: value for name, value in vars(record).items() if name != "seconds"}
    return {"record": json.dumps({**rest, "lanes": lanes, "columns": COLUMNS})}


def _figures(record: Record) -> dict[str, Tensor]:
    row = attrgetter(*COLUMNS)
    rows = [row(figures) for lane in record.lanes.values() for figures in lane.epochs]
    figures = torch.tensor(rows, dtype=torch.float64).view(-1, len(COLUMNS))
    return {"record.figures": figures, "record.seconds": torch.tensor(record.seconds, dtype=torch.float64)}


def read(path: Path) -> tuple[Record, dict[str, Tensor]] | None:
    """Read a checkpoint, or None if there is none that can be read."""
    return _read(path, weights=True)


def read_record(path: Path) -> Record | None:
    """Read a checkpoint's record alone, or None if there is none that can be read."""
    found = _read(path, weights=False)
    return found[0] if found else None


def _read(path: Path, weights: bool) -> tuple[Record, dict[str, Tensor]] | None:
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if weights or name.startswith(PREFIX)]  # noqa: SIM118
            # Cloned, so that the file may be replaced while its tensors are in use.
            tensors = {name: file.get_tensor(name).clone() for name in names}
            record = _record(file.metadata()["record"], tensors)
    except FileNotFoundError:  # perhaps only just: another process may have finished the cohort
        return None
    except (SafetensorError, ValueError, KeyError, TypeError, StopIteration):
        set_aside(path)
        return None
    return record, {name: value for name, value in tensors.items() if not name.startswith(PREFIX)}


def _record(text: str, tensors: Mapping[str, Tensor]) -> Record:
    data = json.loads(text)
    rows, columns = iter(tensors["record.figures"].tolist()), data.pop("columns")
    for lane in data["lanes"].values():
        lane["epochs"] = [dict(zip(columns, next(rows), strict=True)) for _ in range(lane["epochs"])]
    return Record.of({**data, "seconds": tensors["record.seconds"].tolist()})


def set_aside(path: Path) -> None:
    """Move a file that cannot be read to `<name>.broken`."""
    if path.exists():
        path.replace(path.with_name(path.name + ".broken"))
