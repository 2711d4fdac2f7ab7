"""The temporal order problem, generated: which of two symbols came first, and which second, long before the end.

S. Hochreiter, J. Schmidhuber: Long Short-Term Memory (1997), experiment 6a. A sequence begins with E, ends with B and
is made of a, b, c, d otherwise, but for two places far apart that hold X or Y. The class is what these two are, in
their order: XX, XY, YX or YY. The paper has sequences of 100 to 110 symbols, the first place from 10 to 20, the
second from 50 to 60, counted from 0; another `length` scales all of these.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pipelines.faults import Fault
from pipelines.formats import tables, tokens
from pipelines.formats.base import Dataset
from pipelines.formats.tokens import TokensPrepareConfig
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

if TYPE_CHECKING:
    from lit_models.specs.sequence import TokenSpec

FILE = "sequences.csv"
BEGIN, TRIGGER, RELEVANT, DISTRACTORS = "E", "B", "XY", "abcd"
SYMBOLS = BEGIN + TRIGGER + RELEVANT + DISTRACTORS
"""A symbol's id is its place here, counted from 1."""

CLASSES = [first + second for first in RELEVANT for second in RELEVANT]


class TemporalOrderFetch(Section):
    """The temporal order problem of Hochreiter & Schmidhuber 1997, generated."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the sequences")
    sequences: int = Field(default=2000, ge=40, le=1_000_000, description="sequences to generate")
    length: int = Field(
        default=100, ge=10, le=10_000, description="symbols of the shortest; the longest has a tenth more"
    )


def fetch(config: TemporalOrderFetch, folder: Path, base: Path) -> None:
    """Write the sequences as CSV into `folder`, every class in turn."""
    del base
    rows = [f"{sequence},{label}\n" for sequence, label in generated(config)]
    (folder / FILE).write_text("".join(["sequence,label\n", *rows]), encoding="ascii")
    write_manifest(folder)


def generated(config: TemporalOrderFetch) -> list[tuple[str, str]]:
    """Make the sequences and their classes."""
    random = np.random.Generator(np.random.PCG64(config.seed))
    tenth = config.length / 10
    made = []
    for number in range(config.sequences):
        label = CLASSES[number % len(CLASSES)]
        size = _between(random, config.length, longest(config.length))
        symbols = [DISTRACTORS[choice] for choice in random.integers(len(DISTRACTORS), size=size).tolist()]
        symbols[0], symbols[-1] = BEGIN, TRIGGER
        symbols[_between(random, round(tenth), round(2 * tenth))] = label[0]
        symbols[_between(random, round(5 * tenth), round(6 * tenth))] = label[1]
        made.append(("".join(symbols), label))
    return made


def longest(length: int) -> int:
    """Symbols of the longest sequence where the shortest has `length`."""
    return round(length * 1.1)


def _between(random: np.random.Generator, low: int, high: int) -> int:
    return int(random.integers(low, high + 1))


def parse(path: Path) -> tuple[list[str], list[str]]:
    """The sequences of a CSV file, and their labels.

    Raises:
        Fault: a symbol is unknown, or a label is none of the four; the line is named.
    """
    header, rows = tables.read(path, columns=("sequence", "label"))
    sequences = [row.cells[header.index("sequence")] for row in rows]
    labels = [row.cells[header.index("label")] for row in rows]
    for row, sequence, label in zip(rows, sequences, labels, strict=True):
        if unknown := set(sequence) - set(SYMBOLS):
            raise Fault(f"{tables.place(path, row.line)}: {min(unknown)!r} is none of {', '.join(SYMBOLS)}")
        if not sequence:
            raise Fault(f"{tables.place(path, row.line)}: the sequence is empty")
        if label not in CLASSES:
            raise Fault(f"{tables.place(path, row.line)}: {label!r} is none of {', '.join(CLASSES)}")
    return sequences, labels


def prepare(raw: Path, config: TokensPrepareConfig, folder: Path) -> str:
    """Write symbols as tokens.

    Raises:
        Fault: a raw file changed, or holds a bad record; the line is named.
    """
    verified(raw)
    sequences, labels = parse(raw / FILE)
    ids = {symbol: number for number, symbol in enumerate(SYMBOLS, 1)}
    return tokens.write(
        [[ids[symbol] for symbol in sequence] for sequence in sequences],
        tokens.labelled(labels, config, raw / FILE),
        [tokens.PADDING, *SYMBOLS],
        config,
        folder,
        {},
    )


def sketch(fetch: TemporalOrderFetch, prepare: TokensPrepareConfig) -> "TokenSpec":
    """Known before there are any."""
    from lit_models.specs.sequence import TokenSpec

    most = longest(fetch.length)
    return TokenSpec(1 + len(SYMBOLS), min(most, prepare.length or most), len(CLASSES))


TEMPORAL_ORDER = Dataset(
    "temporal_order", tokens.FORM, "none", TemporalOrderFetch, TokensPrepareConfig, fetch, prepare, sketch
)
