"""Delivers journals to the tracking server from a background thread, and never stands in training's way.

What cannot be sent (the server is down, slow or full) stays in the outbox and goes out with the next stage.
"""

import fcntl
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from pipelines import journal
from pipelines.server import hidden, shown_uri

GRACE_SECONDS = 10.0
POLL_SECONDS = 1.0
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
LAST_TRIES = 2


class Delivery:
    """Sends what the outbox holds, the journals that appear meanwhile among it, while the `with` block works.

    On leaving, the server has `grace` seconds to take the rest; what is unsent by then is said and kept.
    """

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self._ending = threading.Event()
        self._trouble = ""
        # A daemon: a request that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ending.set()
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

    def _work(self) -> None:
        failures = last_failures = 0
        while True:
            ending = self._ending.is_set()
            try:
                send_outbox()
                self._trouble, failures = "", 0
                if ending:
                    return
            except Exception as error:  # a server can fail in any way, and training must not notice
                self._trouble = _sentence(error)
                failures += 1
                last_failures += ending
                if last_failures >= LAST_TRIES:
                    return
            pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1] if failures else POLL_SECONDS
            if ending:
                threading.Event().wait(min(pause, POLL_SECONDS))
            else:
                self._ending.wait(pause)


def unsent() -> list[Path]:
    """The outbox's journals, oldest first, as their folders."""
    return sorted(path.parent for path in journal.outbox().glob(f"*/{journal.NAME}"))


def send_outbox() -> None:
    """Send every journal as far as it is written, and delete those that are finished and sent whole.

    Raises:
        Exception: whatever the server or the network raised; what was sent by then is remembered.
    """
    folders = unsent()
    if not folders:
        return
    from pipelines.tracking import Sender

    trouble: Exception | None = None
    for folder in folders:
        with _alone(folder) as mine:
            file = folder / journal.NAME
            if not mine or not file.exists():
                continue
            try:
                finished = journal.close_orphan(file)
                Sender(folder / "files", folder / "sent.json").send(file)
                if finished and not journal.may_go_on(folder):
                    shutil.rmtree(folder)
            except Exception as error:  # one journal that the server refuses must not hold up the others
                trouble = trouble or error
    if trouble:
        raise trouble


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Two processes must not send one journal at once: the second passes it over."""
    try:
        lock = (folder / "sending").open("w")
    except FileNotFoundError:  # another process has just sent and deleted it
        yield False
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _sentence(error: BaseException) -> str:
    """The first cause in one line: mlflow wraps it in three others, which quote addresses."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    lines = hidden(str(error)).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}"
