"""What MLflow is to be told of runs, gathered so that a request takes as much as it may: each costs milliseconds."""

from collections.abc import Iterator
from typing import Any

# What MLflow takes in one request: of each kind, and in all.
MOST, MOST_ENTRIES = {"params": 100, "tags": 100, "metrics": 1000}, 1000


class Batches:
    """Entries that wait, run by run, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, list[Any]]] = {}

    def add(self, run: str, kind: str, entries: list[Any]) -> None:
        """Have entries of a kind (a key of `MOST`) wait."""
        self._waiting.setdefault(run, {kind: [] for kind in MOST})[kind] += entries

    def runs(self) -> list[str]:
        """The runs of which something waits."""
        return list(self._waiting)

    def take(self, run: str) -> Iterator[dict[str, Any]]:
        """Yield all that waits for a run, request by request: a list for each kind."""
        waiting = self._waiting.pop(run, {})
        while any(waiting.values()):
            room, request = MOST_ENTRIES, dict[str, Any]()
            for kind, entries in waiting.items():
                request[kind] = entries[: min(room, MOST[kind])]
                room -= len(request[kind])
            waiting = {kind: entries[len(request[kind]) :] for kind, entries in waiting.items()}
            yield request
