"""Locks on files, between processes: the lock is gone with the process that holds it, whatever ends it."""

import fcntl
import time
from typing import IO, Any

LOOK_SECONDS = 0.05


def take(file: IO[Any], patience: float = 0.0) -> bool:
    """Take the lock of an open file; False if another process still has it after `patience` seconds.

    It is given back when the file is closed.
    """
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(LOOK_SECONDS)
        else:
            return True
