"""Text and tables of a person's own: whatever is wrong in them is named by file and line."""

import codecs
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.faults import Fault

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""How a file begins that a spreadsheet saved as "Unicode text"."""


class Row(NamedTuple):
    """One record: the line it begins on, counted from 1, and its cells, as many as there are columns."""

    line: int
    cells: tuple[str, ...]


class Table(NamedTuple):
    """`header, rows = read(...)`: the columns' names, and the records in the order of the file."""

    header: tuple[str, ...]
    rows: list[Row]


def text(path: Path) -> str:
    r"""The whole file as text, without a byte order mark; lines end in \n.

    Raises:
        Fault: it cannot be read, or is not UTF-8 all through; the first line that is not is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Fault(f"{path} cannot be read: {error.strerror or error}") from None
    if content.startswith(UTF_16):
        raise Fault(f"{path}, line 1: this is UTF-16; save the file as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        decoded = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Fault(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8;"
            " part of the file has another encoding: save all of it as UTF-8"
        ) from None
    decoded = decoded.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in decoded:
        raise Fault(f"{path}, line {decoded.count(chr(10), 0, decoded.index(chr(0))) + 1}: a NUL byte is no text")
    return decoded


def read(path: Path, delimiter: str = ",", columns: Sequence[str] = (), header: bool = True) -> Table:
    """The records of a CSV file, or of a TSV file, in which quotes mean nothing. Blank lines are skipped.

    Args:
        path: the file, in UTF-8.
        delimiter: "," or a tab.
        columns: names that the header must have, in any order; without a header, the names of all columns.
        header: the first record names the columns.

    Raises:
        Fault: the text is not UTF-8, a quote is not closed, a column is missing or named twice, a record has
            too few or too many cells, or there are no records; the line is named.
    """
    quoted = delimiter != "\t"
    reader = csv.reader(
        io.StringIO(text(path)),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=True,
    )
    rows: list[Row] = []
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(begins, tuple(cells)))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise Fault(f"{path}, line {begins}: {error}") from None
    names = tuple(columns)
    if header and rows:
        names = _names(path, rows.pop(0), columns)
    for row in rows:
        if len(row.cells) != len(names):
            raise Fault(f"{place(path, row.line)}: {len(row.cells)} instead of {len(names)} columns")
    if not rows:
        raise Fault(f"{path} has no records")
    return Table(names, rows)


def _names(path: Path, first: Row, wanted: Sequence[str]) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in first.cells)
    for position, name in enumerate(names, 1):
        if not name:
            raise Fault(f"{place(path, first.line)}: column {position} has no name")
        if names.count(name) > 1:
            raise Fault(f"{place(path, first.line)}: two columns are named {name!r}")
    for name in wanted:
        if name not in names:
            raise Fault(f"{place(path, first.line)}: there is no column {name!r}; there are {', '.join(names)}")
    return names


def place(path: Path, line: int) -> str:
    """How a fault begins: the file and the line."""
    return f"{path}, line {line}"


def number(path: Path, line: int, column: str, cell: str) -> float:
    """A cell as a finite number.

    Raises:
        Fault: it is none; file, line and column are named.
    """
    try:
        value = float(cell.replace("_", "?"))  # Python alone reads 1_000 as a number
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Fault(f"{place(path, line)}: {column} is {cell!r}, not a number")
    return value


def whole(path: Path, line: int, column: str, cell: str, least: int, most: int) -> int:
    """A cell as a whole number from `least` to `most`.

    Raises:
        Fault: it is none; file, line and column are named.
    """
    try:
        value = int(cell.replace("_", "?"))
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise Fault(f"{place(path, line)}: {column} is {cell!r}, not a whole number from {least} to {most}")
    return value
