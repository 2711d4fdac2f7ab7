"""FASTA files of DNA: records of letters, and a label for each."""

import re
from pathlib import Path
from typing import NamedTuple

from pipelines.faults import Fault
from pipelines.formats import tables

ALPHABET = "ACGTN"
"""A letter's id is its place here, counted from 1. N, any letter, is a token of its own: sequencers write it where
they could not read. The other ambiguity codes of IUPAC, gaps and RNA's U are refused."""


class Record(NamedTuple):
    """One record of a FASTA file: the line of its header, its id, its label if the header has one, its letters."""

    line: int
    name: str
    label: str | None
    letters: str


def parse(path: Path) -> list[Record]:
    """The records of a FASTA file; small letters count as capitals.

    Raises:
        Fault: a letter is none of A, C, G, T, N, a record is empty or without an id, an id comes twice, or
            there are no records; the line is named.
    """
    headers: list[tuple[int, str, str | None]] = []
    pieces: list[list[str]] = []
    for number, line in enumerate(tables.text(path).split("\n"), 1):
        if line.startswith(">"):
            headers.append((number, *_header(path, number, line)))
            pieces.append([])
        elif line.strip() and not headers:
            raise Fault(f"{tables.place(path, number)}: {line.strip()[:20]!r} stands before the first `>`")
        elif line.strip():
            pieces[-1].append(_letters_of(path, number, line, headers[-1][1]))
    lines: dict[str, int] = {}
    for (number, name, _), found in zip(headers, pieces, strict=True):
        if name in lines:
            raise Fault(f"{tables.place(path, number)}: the id {name} is already that of line {lines[name]}")
        if not found:
            raise Fault(f"{tables.place(path, number)}: the record {name} has no letters")
        lines[name] = number
    if not headers:
        raise Fault(f"{path} has no records, which begin with `>`")
    return [Record(*header, "".join(found)) for header, found in zip(headers, pieces, strict=True)]


def _header(path: Path, number: int, line: str) -> tuple[str, str | None]:
    """The id, and the label if there is one."""
    words = line[1:].split()
    if not words:
        raise Fault(f"{tables.place(path, number)}: the record has no id")
    label = next((word.removeprefix("label=") for word in words[1:] if word.startswith("label=")), None)
    return words[0], label or None


def _letters_of(path: Path, number: int, line: str, name: str) -> str:
    letters = line.strip().upper()
    if wrong := re.search(f"[^{ALPHABET}]", letters):
        column = line.index(line.strip()) + wrong.start() + 1
        raise Fault(
            f"{tables.place(path, number)}, column {column}: {wrong.group()!r} in the record {name}"
            f" is none of {', '.join(ALPHABET)}"
        )
    return letters


def labels_of(records: list[Record], fasta: Path, table: Path) -> list[str]:
    """The label of each record: of the CSV file `table` if it is there, otherwise of its header.

    Raises:
        Fault: a record has no label, or two, or a label has no record; the line is named.
    """
    if not table.exists():
        for record in records:
            if record.label is None:
                raise Fault(
                    f"{tables.place(fasta, record.line)}: the record {record.name} has no label;"
                    " write `label=…` after its id, or give a CSV file with the key `labels`"
                )
        return [str(record.label) for record in records]
    header, rows = tables.read(table, columns=("id", "label"))
    found: dict[str, str] = {}
    known = {record.name for record in records}
    for row in rows:
        name, label = (row.cells[header.index(column)].strip() for column in ("id", "label"))
        if name not in known:
            raise Fault(f"{tables.place(table, row.line)}: no record has the id {name!r}")
        if name in found:
            raise Fault(f"{tables.place(table, row.line)}: a second label for {name}")
        if not label:
            raise Fault(f"{tables.place(table, row.line)}: the label of {name} is empty")
        found[name] = label
    for record in records:
        if record.name not in found:
            raise Fault(f"{tables.place(fasta, record.line)}: {table.name} has no label for the record {record.name}")
    return [found[record.name] for record in records]
