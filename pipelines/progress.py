"""Progress that a person can read: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 5.0


class Progress:
    """Counts steps of long work. `note` is what is known so far, such as the best result."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._began = time.monotonic()
        self._last_line = self._began
        self._bar: Any = None
        if sys.stderr.isatty():
            form = "{desc}: {n_fmt}/{total_fmt} {unit} |{bar}| {elapsed}, {remaining} left{postfix}"
            self._bar = tqdm(total=total, desc=title, unit=unit, bar_format=form, leave=False, dynamic_ncols=True)

    def step(self, note: str = "") -> None:
        """One more is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()
        elif self._done < self._total and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            spent = self._last_line - self._began
            left = spent / self._done * (self._total - self._done)
            note = f", {note}" if note else ""
            print(f"{self._title}: {self._done}/{self._total} {self._unit}{note}, about {left:.0f} s left", flush=True)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()
