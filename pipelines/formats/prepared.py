"""Prepared data on disk: one safetensors file per part, and a card that says what is in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.transport.raw import digest

CARD = "card.json"
Indices = NDArray[np.int64]


def write_part(folder: Path, name: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    """Write `<name>.safetensors`, and return its SHA-256. The same tensors give the same bytes."""
    from safetensors.numpy import save_file

    path = folder / f"{name}.safetensors"
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)
    return digest(path)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write `card.json`, its keys in the order in which they are given."""
    (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_parts(
    folder: Path,
    x: NDArray[Any],
    y: NDArray[Any],
    parts: Mapping[str, Indices],
    card: Mapping[str, Any],
    seed: int,
    index: Indices | None = None,
) -> str:
    """Write each part's `x`, `y` and `index`, and the card with the parts' sizes and hashes; return the sizes in words.

    Args:
        folder: an existing folder.
        x: inputs (N, ...) of all examples; may be memory-mapped.
        y: targets (N, ...).
        parts: positions in x and y by name of part.
        card: what else the card says; `form` is among it.
        seed: of the split.
        index: position (N,) of each example in raw order; by default its position in x.
    """
    index = np.arange(len(y), dtype=np.int64) if index is None else index
    hashes = {
        f"{name}.safetensors": write_part(folder, name, {"x": x[rows], "y": y[rows], "index": index[rows]})
        for name, rows in parts.items()
    }
    counts = {"counts": {name: len(rows) for name, rows in parts.items()}}
    write_card(folder, {**card, **({} if "counts" in card else counts), "sha256": hashes, "seed": seed})
    return sizes(parts)


def write_labelled(
    folder: Path,
    x: NDArray[Any],
    y: Indices,
    parts: Mapping[str, Indices],
    card: Mapping[str, Any],
    seed: int,
    index: Indices | None = None,
) -> str:
    """As `write_parts`, for labels y (N,): the card counts each class, whose names are its `classes`."""
    names = card["classes"]
    counts = {
        part: {name: int(count) for name, count in zip(names, np.bincount(y[rows], minlength=len(names)), strict=True)}
        for part, rows in parts.items()
    }
    return write_parts(folder, x, y, parts, {**card, "counts": counts}, seed, index)


def sizes(parts: Mapping[str, Indices]) -> str:
    """Such as `700 train, 150 val, 150 test`."""
    return ", ".join(f"{len(rows)} {name}" for name, rows in parts.items())
