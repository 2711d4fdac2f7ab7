"""Delivers journals to the tracking server from a background thread, and never stands in training's way.

What cannot be sent (the server is down, slow or full) stays in the outbox and goes out with the next stage.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipelines import journal, locks, sent
from pipelines.server import hidden, shown_uri
from pipelines.turn import Taken

if TYPE_CHECKING:
    from pipelines.tracking import Sender

GRACE_SECONDS = 10.0
POLL_SECONDS = 1.0
# A round of many runs costs a core seconds; the rarer it is, the more of a run's epochs go in one request.
MOST_POLL_SECONDS, POLL_SHARE = 10.0, 0.1
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
LAST_TRIES = 2


class Delivery:
    """Sends what the outbox holds, the journals that appear meanwhile among it, while the `with` block works.

    On leaving, the server has `grace` seconds to take the rest; what is unsent by then is said and kept.
    """

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self._ending = threading.Event()
        self._rested = threading.Event()
        self._trouble = ""
        # A daemon: a request that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ending.set()
        self._rested.set()
        self._thread.join(self._grace)
        if self._thread.is_alive():
            self._trouble = self._trouble or f"no answer within {self._grace:.0f} s"
        if self._trouble and (waiting := unsent()):
            print(
                f"tracking: {len(waiting)} journal(s) are not sent to {shown_uri()} yet ({self._trouble}).\n"
                "Nothing is lost: they wait in .fifty/outbox and go out with the next stage, or now by: "
                "python -m pipelines.tracking",
                file=sys.stderr,
            )

    def hasten(self) -> None:
        """Send what there is at once, for much of it is whole; a server that is in trouble is left its time."""
        self._rested.set()

    def _work(self) -> None:
        failures = last_failures = 0
        outbox = Outbox()
        while True:
            self._rested.clear()
            ending, began = self._ending.is_set(), time.monotonic()
            try:
                # While the stage works, the next poll comes soon; at its end each try may wait its part of the grace.
                outbox.send(self._grace / LAST_TRIES if ending else 0.0)
                self._trouble, failures = "", 0
                if ending:
                    return
            except Taken as taken:
                self._trouble, failures = str(taken), 0
                last_failures += ending
            except Exception as error:  # a server can fail in any way, and training must not notice
                self._trouble = _sentence(error)
                failures += 1
                last_failures += ending
            if last_failures >= LAST_TRIES:
                return
            rest = _rest(time.monotonic() - began)
            pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] if failures else rest
            if ending:
                threading.Event().wait(min(pause, POLL_SECONDS))
            else:
                (self._ending if failures else self._rested).wait(pause)


def _rest(seconds: float) -> float:
    """How long to wait after a round that took so long, for it not to stand in training's way."""
    return min(max(POLL_SECONDS, seconds / POLL_SHARE - seconds), MOST_POLL_SECONDS)


def unsent() -> list[Path]:
    """The outbox's journals, oldest first, as their folders."""
    return sorted(path.parent for path in journal.outbox().glob(f"*/{journal.NAME}"))


class Outbox:
    """Sends the journals, again and again, each time just what is new in them."""

    def __init__(self) -> None:
        self._senders: dict[Path, Sender] = {}
        self._closed: dict[Path, int | None] = {}

    def send(self, patience: float = 0.0) -> None:
        """Send every journal as far as it is written, and delete those that are finished and sent whole.

        A journal that another process is sending, or an SQLite database that another process writes to, is waited for
        by at most `patience` seconds; such a journal is left to the other process then.

        Raises:
            Taken: another process writes to the database, for longer than our patience.
            Exception: whatever the server or the network raised; what was sent by then is remembered.
        """
        until = time.monotonic() + patience
        folders = unsent()
        self._senders = {folder: sender for folder, sender in self._senders.items() if folder in folders}
        trouble: list[Exception] = []
        left = self._round(folders, 0.0, until, trouble)
        if patience:
            self._round(left, until, until, trouble)
        if trouble:
            raise trouble[0]

    def _round(self, folders: list[Path], alone: float, until: float, trouble: list[Exception]) -> list[Path]:
        """Visit the journals; return those that another process is sending, also when the clock shows `alone`."""
        left = []
        for folder in folders:
            try:
                with _alone(folder, alone) as mine:
                    if mine:
                        self._send(folder, until)
                    else:
                        left.append(folder)
            except Taken:
                raise
            except Exception as error:  # one journal that the server refuses must not hold up the others
                trouble.append(error)
        return left

    def _send(self, folder: Path, until: float) -> None:
        from pipelines.tracking import Sender

        file = folder / journal.NAME
        self._closed[folder] = closed = journal.close_orphan(file, self._closed.get(folder))
        if folder not in self._senders:
            self._senders[folder] = Sender(folder / "files", folder / sent.NAME)
        self._senders[folder].send(file, max(0.0, until - time.monotonic()))
        if closed is not None:
            journal.delete_closed(folder, closed)


def send_outbox(patience: float = 0.0) -> None:
    """Send the outbox once; see `Outbox.send`."""
    Outbox().send(patience)


@contextmanager
def _alone(folder: Path, until: float) -> Iterator[bool]:
    """Two processes must not send one journal at once: the second waits until the clock says so, then passes it over.

    It yields whether there is a journal to send, and it is ours.
    """
    try:
        lock = (folder / "sending").open("w")
    except FileNotFoundError:  # another process has just sent and deleted it
        yield False
        return
    with lock:
        yield locks.take(lock, until - time.monotonic()) and (folder / journal.NAME).exists()


def _sentence(error: BaseException) -> str:
    """The first cause in one line: mlflow wraps it in three others, which quote addresses."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    lines = hidden(str(error)).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"
