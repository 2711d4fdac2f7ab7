"""Ctrl-C, a closed terminal and SIGTERM end a command at once and tidily, and it says what to do next."""

import signal
import time
from types import FrameType

PATIENCE_SECONDS = 10.0

_received: list[tuple[int, float]] = []


class Interrupted(BaseException):
    """A signal arrived; like KeyboardInterrupt, no `except Exception` may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def install() -> None:
    """Have the three signals raise `Interrupted` in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under `nohup`, or in the background of a script, a signal is ignored on purpose.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def received() -> int:
    """The number of the signal that came, or 0."""
    return _received[-1][0] if _received else 0


def check() -> None:
    """Raise if a signal came whose exception was swallowed or turned into another, as happens in callbacks from C.

    Raises:
        Interrupted: a signal came.
    """
    if number := received():
        raise Interrupted(number)


def _interrupt(number: int, _: FrameType | None) -> None:
    now = time.monotonic()
    # An impatient second Ctrl-C must not break the ending of `ray up` that the first one began.
    again = bool(_received) and now - _received[-1][1] < PATIENCE_SECONDS
    if not again:
        _received.append((number, now))
        raise Interrupted(number)
