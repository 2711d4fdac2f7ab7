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
        self._last_line = time.monotonic()
        self._first = 0.0
        self._begun = 0
        self._bar: Any = None
        if sys.stderr.isatty():
            form = "{desc}: {n_fmt}/{total_fmt} {unit} |{bar}| {elapsed}, {remaining} left{postfix}"
            self._bar = tqdm(total=total, desc=title, unit=unit, bar_format=form, leave=False, dynamic_ncols=True)

    def step(self, note: str = "", steps: int = 1) -> None:
        """One more is done, or several at once."""
        self._done += steps
        now = time.monotonic()
        # What comes before the first step (imports, Ray's start) happens once, so it says nothing of the rest.
        self._first, self._begun = (self._first, self._begun) if self._first else (now, self._done)
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(steps)
        elif self._done < self._total and now - self._last_line > LINE_SECONDS:
            self._last_line = now
            parts = [f"{self._title}: {self._done}/{self._total} {self._unit}", note]
            if self._done > self._begun:
                left = (now - self._first) / (self._done - self._begun) * (self._total - self._done)
                parts.append(f"about {left:.0f} s left")
            print(", ".join(filter(None, parts)), flush=True)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()
