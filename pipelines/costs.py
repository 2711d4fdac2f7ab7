"""What trials cost: a machine's price, times the part of it that their cohort had, times how long it was there.

What a machine of a cluster costs, Ray's label `fifty-price` on it says, in dollars per hour. One without costs nothing,
and nor does this machine.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines import outs

PRICE = "fifty-price"
SAVE_SECONDS = 10.0


def price(labels: Mapping[str, str]) -> float:
    """Dollars per hour of a machine, as its labels say; 0 if they do not."""
    try:
        dollars = float(labels.get(PRICE, "0"))
    except ValueError:
        return 0.0
    return dollars if math.isfinite(dollars) and dollars > 0 else 0.0


def share(machine: Mapping[str, float], cpus: float, gpus: float) -> float:
    """The part of a machine that is kept for a cohort: of its processors, or of its GPUs, whichever is more."""
    parts = [wanted / machine[kind] for kind, wanted in (("CPU", cpus), ("GPU", gpus)) if machine.get(kind)]
    return min(1.0, max(parts, default=1.0))


@dataclass
class _Stay:
    """A cohort on a machine: dollars per second, and since when they are not yet charged."""

    machine: str
    rate: float
    since: float


class Meter:
    """Says what each cohort has cost since it was last asked, by the search's own clock.

    Tune's trials are what it tells stays apart by: a cohort whose worker died comes back as another one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stays: dict[str, _Stay] = {}

    def arrive(self, trial_id: str, machine: str, dollars_per_hour: float) -> None:
        """A cohort begins on a machine; its part of the machine costs so much."""
        self._stays[trial_id] = _Stay(machine, dollars_per_hour / 3600, self._clock())

    def charge(self, trial_id: str) -> float:
        """Dollars since the cohort arrived, or since the last charge."""
        if (stay := self._stays.get(trial_id)) is None:
            return 0.0
        now = self._clock()
        dollars = stay.rate * (now - stay.since)
        stay.since = now
        return dollars

    def leave(self, trial_id: str) -> tuple[str, float]:
        """The cohort has ended, or its worker has: say where it was, and what has not been charged."""
        dollars = self.charge(trial_id)
        stay = self._stays.pop(trial_id, None)
        return (stay.machine, dollars) if stay else ("", 0.0)


class CostBook:
    """Dollars by trial, on disk every ten seconds, so that a search that is killed and goes on keeps count."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._saved, self._changed = -math.inf, False
        self._dollars: dict[int, float] = {}
        if path is not None and path.exists():
            self._dollars = {int(trial): dollars for trial, dollars in json.loads(path.read_text()).items()}

    def add(self, dollars: float, weights: Mapping[int, float]) -> None:
        """Divide an amount among trials; equally if all weights are 0."""
        if not dollars or not weights:
            return
        whole = sum(weights.values())
        for trial, weight in weights.items():
            part = weight / whole if whole else 1 / len(weights)
            self._dollars[trial] = self._dollars.get(trial, 0.0) + dollars * part
        self._changed = True
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Put all that is known on disk."""
        if self._path is not None and self._changed:
            outs.write_atomically(self._path, json.dumps(self._dollars).encode())
            self._saved, self._changed = time.monotonic(), False

    def of(self, trial: int) -> float:
        """What a trial has cost so far."""
        return self._dollars.get(trial, 0.0)

    @property
    def total(self) -> float:
        """What all have cost so far."""
        return sum(self._dollars.values())
