"""One writer at a time: SQLite takes a single one, and whoever comes beside it may meet its lock.

Beside the database stands a file whose lock is held by the process that sends. Who finds it taken comes again later, or
waits. Readers (the dashboard) need no turn, but SQLite lets them in only between two commits: so who writes for long
makes a pause now and then, in which each of them gets its own.
"""

import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pipelines import locks

PREFIX = "sqlite:///"
HOLD_SECONDS = 2.0
# SQLite looks again every 0.1 s at the latest, for 5 s at least.
PAUSE_SECONDS = 0.15


class Taken(Exception):
    """Another process is sending to this database."""


class Turn:
    """The right to write to a tracking server; without limits unless it is an SQLite database.

    Args:
        address: of the server.
        patience: seconds to wait for the turn.
    """

    def __init__(self, address: str, patience: float = 0.0) -> None:
        self._path = lock_file(address)
        self._patience = patience
        self._lock: IO[str] | None = None
        self._since = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._give_up()

    def take(self) -> None:
        """Begin the turn, or go on; after a long time give it up for a moment, in which others may take theirs.

        Raises:
            Taken: it is another process's turn, for longer than our patience.
        """
        if self._path is None:
            return
        if self._lock is not None and self._long():
            self._give_up()
            time.sleep(PAUSE_SECONDS)
        if self._lock is None:
            self._lock = self._wait(self._path)
            self._since = time.monotonic()

    def breathe(self) -> None:
        """Let readers in, if they had no chance for long, and keep the turn."""
        if self._lock is not None and self._long():
            time.sleep(PAUSE_SECONDS)
            self._since = time.monotonic()

    def _long(self) -> bool:
        return time.monotonic() - self._since > HOLD_SECONDS

    def _wait(self, path: Path) -> IO[str]:
        lock = path.open("w")
        if not locks.take(lock, self._patience):
            lock.close()
            raise Taken("another process is sending to the same database")
        return lock

    def _give_up(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def database(address: str) -> Path | None:
    """The file of an SQLite address; None for other servers."""
    return Path(address.removeprefix(PREFIX).partition("?")[0]) if address.startswith(PREFIX) else None


def lock_file(address: str) -> Path | None:
    """The file beside an SQLite database whose lock its writer holds; None for other servers."""
    file = database(address)
    return file.with_name(f".{file.name}.sending") if file else None
