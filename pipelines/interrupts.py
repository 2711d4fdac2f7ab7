"""Ctrl-C and SIGTERM: they stop a stage at once, leave its outs as they were, and are never lost on the way."""

import os
import signal
import sys
import time
from types import FrameType

PATIENCE_SECONDS = 10.0
AGAIN_SECONDS = 1.0

received: list[int] = []
_last = 0.0
_owner = 0
_others = sys.unraisablehook


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived; like KeyboardInterrupt, no `except Exception` may swallow it."""


def install() -> None:
    """Take both signals; again after a library (Ray does) has taken them for itself."""
    global _owner, _others
    _owner = os.getpid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGALRM, _again)
    if sys.unraisablehook is not _unraisable:
        _others, sys.unraisablehook = sys.unraisablehook, _unraisable


def arrived(error: BaseException) -> None:
    """Take note of an exception that has reached whoever ends the process: the signal's is not raised again."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    if _is_rays(error):
        received.append(signal.SIGTERM)


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
        _arm()
        raise Interrupted


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    """Print no traceback of an interruption that the interpreter must drop; it comes again."""
    if _is_rays(lost.exc_value):
        received.append(signal.SIGTERM)
        _arm()
    elif lost.exc_type is not Interrupted:
        _others(lost)


def _is_rays(error: BaseException | None) -> bool:
    """Say whether this is what Ray's own handler makes of SIGTERM while Ray starts."""
    return isinstance(error, SystemExit) and error.code == signal.SIGTERM


def _arm() -> None:
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)


def _again(*_: object) -> None:
    """Raise it again if it is not on its way up any more: dropped in a hook around fork, swallowed by a library."""
    error = sys.exception()
    # On its way it may have met cleaning-up that handles errors of its own.
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    if error is None:
        raise Interrupted
