"""How moments, periods, money and tables are told to a person. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta


def dollars(amount: float) -> str:
    """As `$1.50`; what is less than a cent and not nothing keeps its digits."""
    return f"${amount:.2f}" if amount == 0 or abs(amount) >= 0.01 else f"${amount:.4f}"


def price(per_hour: float) -> str:
    """As `$0.526/h`."""
    return f"${per_hour:.3f}/h"


def span(period: timedelta) -> str:
    """As `2 d 3 h`, `2 h 05 min`, `7 min`, `40 s`; without a sign."""
    seconds = int(abs(period.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def until(deadline: datetime, now: datetime) -> str:
    """How long it is until then, or since."""
    return f"in {span(deadline - now)}" if deadline > now else f"{span(now - deadline)} ago"


def moment(when: datetime) -> str:
    """As `2026-11-26 18:05 UTC`."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count(number: int, noun: str) -> str:
    """As `1 machine`, `2 machines`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> list[str]:
    """Return the lines of a table; the columns named in `right` are flush right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        )
        return "  ".join(cells).rstrip()

    return [line(header), *map(line, rows)]
