"""Handwritten digits of 43 people, 1797 images of 8x8 pixels, which scikit-learn carries: no network needed.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits (UCI, 1998), the test set. The file is CSV,
gzipped: 64 pixels from 0 to 16, row by row, then the label.
"""

import gzip
import shutil
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipelines.faults import Fault
from pipelines.formats.images import Examples, ImagePrepareConfig, always, image_dataset
from pipelines.formats.pixels import finish
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

FILE = "digits.csv.gz"
PIXELS, SCALE, CLASSES = 64, 16, 10


class DigitsFetch(Section):
    """Handwritten digits that come with scikit-learn."""


def fetch(config: DigitsFetch, folder: Path, base: Path) -> None:
    """Copy scikit-learn's file byte for byte into `folder`.

    Raises:
        Fault: scikit-learn is not installed or no longer carries the file.
    """
    spec = find_spec("sklearn")  # finds the package without importing it, which takes a second
    if spec is None or not spec.submodule_search_locations:
        raise Fault("scikit-learn is not installed, and the digits come with it: uv sync")
    source = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / FILE
    if not source.is_file():
        raise Fault(f"this scikit-learn carries no {FILE} (looked for {source})")
    shutil.copyfile(source, folder / FILE)
    write_manifest(folder)


def read(raw: Path, config: ImagePrepareConfig) -> Examples:
    """1797 gray images of 8x8 pixels, scale 16.

    Raises:
        Fault: a record is malformed; the line and column are named.
    """
    verified(raw)
    table = parse(raw / FILE)
    examples = Examples(
        x=table[:, :PIXELS].astype(np.uint8).reshape(-1, 1, 8, 8),
        y=table[:, PIXELS].copy(),
        classes=tuple(str(digit) for digit in range(CLASSES)),
        scale=SCALE,
        index=np.arange(len(table)),
    )
    return finish(examples, config)


def parse(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The records of a gzipped CSV file, int64 (N, 65): 64 pixels and a label.

    Raises:
        Fault: the file is no gzip or is cut off, or a record is malformed; its line and column are named.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).decode("ascii").splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise Fault(f"{path} is no gzipped CSV file, or is cut off: {error}") from None
    if not lines:
        raise Fault(f"{path} has no records")
    return np.array([_record(path, number, line) for number, line in enumerate(lines, 1)], np.int64)


def _record(path: Path, number: int, line: str) -> list[int]:
    cells = line.split(",")
    if len(cells) != PIXELS + 1:
        raise Fault(f"{path}, line {number}: {len(cells)} instead of {PIXELS + 1} columns")
    values = []
    for column, cell in enumerate(cells, 1):
        top = SCALE if column <= PIXELS else CLASSES - 1
        if not (cell.isascii() and cell.isdigit() and len(cell) <= 2 and int(cell) <= top):
            raise Fault(f"{path}, line {number}, column {column}: {cell!r} is no whole number from 0 to {top}")
        values.append(int(cell))
    return values


DIGITS = image_dataset("digits", DigitsFetch, fetch, read, always(1, 8))
