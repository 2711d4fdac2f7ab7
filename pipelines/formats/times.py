"""The times of a series' rows: in order, evenly spaced, or the line is named where they are not."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from pipelines.faults import Fault
from pipelines.formats.tables import place

EVEN = 0.5
"""How far a step may be from the median step, as a share of it: months are 28 to 31 days."""


def evenly_spaced(path: Path, cells: Sequence[tuple[int, str]], gaps: bool) -> dict[str, Any]:
    """Check the times of all rows and return where they begin and how far apart they are.

    Args:
        path: of the file, for messages.
        cells: (line, time) of each row; a time is a number, or a date and time as in ISO 8601.
        gaps: pass over steps of uneven length.

    Returns:
        `start`, the first time, a number or a date as text, and `step`, the median step, in seconds for dates.

    Raises:
        Fault: a time is neither or not of the first one's kind, is not after the one before, or the step to it is far
            from the median; the line is named.
    """
    dates = _number(cells[0][1]) is None
    times = [(line, cell, _parse(path, line, cell, dates)) for line, cell in cells]
    for (_, before, earlier), (line, cell, later) in pairwise(times):
        if later <= earlier:
            raise Fault(f"{place(path, line)}: the time {cell} is not after {before}; rows must be in order of time")
    steps = [later - earlier for (_, _, earlier), (_, _, later) in pairwise(times)]
    step = median(steps) if steps else 1.0
    for length, ((_, before, _), (line, cell, _)) in zip(steps, pairwise(times), strict=True):
        if not gaps and abs(length - step) > EVEN * step:
            what = "a gap" if length > step else "less than a step"
            raise Fault(
                f"{place(path, line)}: from the time {before} to {cell} is {what}, for most steps are {step:g}"
                f"{' seconds' * dates}; put in or take out rows, or set `gaps: true`"
            )
    start = datetime.fromtimestamp(times[0][2], UTC).replace(tzinfo=None).isoformat() if dates else times[0][2]
    return {"start": start, "step": step}


def _parse(path: Path, line: int, cell: str, dates: bool) -> float:
    """A number as it is, or a date as seconds since 1970; without a time zone it counts as UTC."""
    if not dates:
        number = _number(cell)
        if number is None:
            raise Fault(f"{place(path, line)}: the time {cell!r} is no number, and those before are")
        return number
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise Fault(f"{place(path, line)}: the time {cell!r} is neither a number nor a date as in ISO 8601") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(cell: str) -> float | None:
    try:
        value = float(cell.replace("_", "?"))  # Python alone reads 1_000 as a number
    except ValueError:
        return None
    return value if math.isfinite(value) else None
