"""Plans in a process of its own: planning needs torch, and the search's process would rather start Ray meanwhile."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from pipelines.planning import Order, Planned, plan


@contextmanager
def planner() -> Iterator["Planner"]:
    """Yield what plans in a process of its own; the process ends with the block, and with this process."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)) as pool:
        yield Planner(pool)


class Planner:
    """Hands orders to the planning process."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, order: Order) -> "Future[Planned]":
        """Begin to plan."""
        return self._pool.submit(plan, order)


def _begin(parent: int) -> None:
    import signal

    from pipelines import startup

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    # A pool's process waits for work for ever, even if the process that would bring it was killed.
    threading.Thread(target=watch, daemon=True).start()
    # Ctrl-C reaches the whole process group; the search's own process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    startup.collect_seldom()
