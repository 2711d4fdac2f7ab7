"""Ctrl-C and SIGTERM: they stop a stage at once, leave its outs as they were, and are never lost on the way."""

import os
import signal
import time
from types import FrameType

PATIENCE_SECONDS = 10.0

received: list[int] = []
_last = 0.0
_owner = 0


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived; like KeyboardInterrupt, no `except Exception` may swallow it."""


def install() -> None:
    """Take both signals; again after a library (Ray does) has taken them for itself."""
    global _owner
    _owner = os.getpid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def check() -> None:
    """Raise if a signal came whose exception was swallowed, as happens inside `__del__` and callbacks from C.

    Raises:
        Interrupted: a signal came.
    """
    if received:
        raise Interrupted


def _interrupt(number: int, _: FrameType | None) -> None:
    global _last
    if os.getpid() != _owner:
        # A fork that is about to become another program: an exception would be lost there, in a hook of some library's.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    now = time.monotonic()
    # A second signal in a row must not break the cleaning-up that the first one began.
    again = bool(received) and now - _last < PATIENCE_SECONDS
    received.append(number)
    if not again:
        _last = now
        raise Interrupted
