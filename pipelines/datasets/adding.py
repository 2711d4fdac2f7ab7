"""The adding problem, a test of long memory: of a long series of numbers, the two that are marked must be added.

S. Hochreiter, J. Schmidhuber: Long Short-Term Memory (1997), experiment 4, in the form of Q. Le, N. Jaitly, G. Hinton:
A Simple Way to Initialize Recurrent Networks of Rectified Linear Units (2015). A step is a number in [0, 1) and a
marker, 1 at one step of the first half and at one of the second, 0 elsewhere. The target is the sum of the two marked
numbers; who always answers their mean, 1, has a mean squared error of 1/6.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from pipelines.faults import Fault
from pipelines.formats import series, tables
from pipelines.formats.base import Dataset, SplitConfig
from pipelines.formats.splits import split_rows
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

FILE = "adding.csv"
DIGITS = 4
"""Decimals of a number."""

TOLERANCE = 0.04
"""An error below this counts as right (Hochreiter & Schmidhuber 1997)."""


class AddingFetch(Section):
    """The adding problem of Hochreiter & Schmidhuber 1997, generated."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the sequences")
    sequences: int = Field(default=6000, ge=10, le=10**6, description="sequences to generate")
    length: int = Field(default=100, ge=2, le=10_000, description="numbers in a sequence")


def fetch(config: AddingFetch, folder: Path, base: Path) -> None:
    """Write the sequences as CSV into `folder`: the steps that are marked, counted from 1, then the numbers."""
    del base
    words = np.random.PCG64(np.random.SeedSequence((config.seed, config.length)))
    half = config.length // 2
    header = ["first", "second", *(f"number{step}" for step in range(1, config.length + 1))]
    with (folder / FILE).open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(header) + "\n")
        for _ in range(config.sequences):
            # Of 64 bits the lower 32 are let go: a product with the upper ones spreads evenly, and stays in 64 bits.
            first, second, *rest = words.random_raw(config.length + 2) >> np.uint64(32)
            marked = 1 + (int(first) * half >> 32), 1 + half + (int(second) * (config.length - half) >> 32)
            numbers = (f"{int(word) * 10**DIGITS >> 32:0{DIGITS}d}" for word in rest)
            file.write(f"{marked[0]},{marked[1]},0." + ",0.".join(numbers) + "\n")
    write_manifest(folder)


def prepare(raw: Path, config: SplitConfig, folder: Path) -> str:
    """Write series (N, length, 2) of numbers and markers, and the sums (N, 1).

    Raises:
        Fault: a raw file changed, or a cell is no number; the line is named.
    """
    verified(raw)
    path = raw / FILE
    header, rows = tables.read(path, columns=("first", "second"))
    length = len(header) - 2
    x = np.zeros((len(rows), length, 2), np.float32)
    y = np.zeros((len(rows), 1), np.float64)
    for position, row in enumerate(rows):
        first, second, *numbers = (
            tables.number(path, row.line, name, cell) for name, cell in zip(header, row.cells, strict=True)
        )
        if not {first, second} <= set(range(1, length + 1)) or first == second:
            raise Fault(f"{tables.place(path, row.line)}: {first:g} and {second:g} are not two steps of {length}")
        x[position, :, 0] = numbers
        for marked in (int(first) - 1, int(second) - 1):
            x[position, marked, 1] = 1
            y[position] += numbers[marked]
    return _write(x, y.astype(np.float32), config, folder)


def _write(x: series.Floats, y: series.Floats, config: SplitConfig, folder: Path) -> str:
    from pipelines.formats.prepared import write_parts

    parts = split_rows(len(x), config)
    card = series.card(
        *(x, y, parts["train"]),
        features=["number", "marker"],
        targets=["sum"],
        tolerance=TOLERANCE,
        baseline={"name": "mean of the training part"},
    )
    return f"{write_parts(folder, x, y, parts, card, config.seed)}; sequences of {x.shape[1]} numbers, two to add"


ADDING = Dataset(
    name="adding",
    form=series.FORM,
    augmentation="none",
    FetchConfig=AddingFetch,
    PrepareConfig=SplitConfig,
    fetch=fetch,
    prepare=prepare,
    sketch=lambda fetch, prepare: series.sketch(fetch.length, features=2, targets=1),
)
