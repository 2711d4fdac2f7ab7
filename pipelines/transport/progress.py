"""How far a download is: a bar on a terminal, a line every few seconds in a log."""

import sys
import time
from types import TracebackType
from typing import Self

EVERY = 5.0
"""Seconds between two lines in a log."""


class Progress:
    """Counts bytes and says so on stderr."""

    def __init__(self, name: str, start: int, total: int | None) -> None:
        from tqdm import tqdm

        self._name, self._done, self._total, self._said = name, start, total, time.monotonic()
        self._bar = tqdm(
            total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=not sys.stderr.isatty()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def add(self, count: int) -> None:
        """`count` more bytes have arrived."""
        self._done += count
        self._bar.update(count)
        if self._bar.disable and time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            of = f" of {self._total / 1e6:.1f}" if self._total else ""
            print(f"{self._name}: {self._done / 1e6:.1f}{of} MB", file=sys.stderr, flush=True)
