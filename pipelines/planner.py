"""Plans in a process of its own: planning needs torch, and the search's process would rather start Ray meanwhile."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection

from pipelines.faults import Fault
from pipelines.plan_order import Order, Planned
from pipelines.planning import plan


@contextmanager
def planner() -> Iterator["Planner"]:
    """Yield what plans in a process of its own; the process ends with the block at once, and with this process."""
    # A stage that was forked has torch loaded already.
    context = get_context("fork") if "torch" in sys.modules else get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Planner(ours)
    finally:
        process.kill()
        process.join()
        ours.close()


class Planner:
    """Hands orders to the planning process, one at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(self, order: Order) -> "Planner":
        """Begin to plan; `result` waits for it."""
        with suppress(OSError):  # it has died, which `result` says
            self._connection.send(order)
        return self

    def result(self) -> Planned:
        """Wait for the plan of the order that was handed in.

        Raises:
            Fault: the process was killed.
        """
        try:
            planned: Planned = self._connection.recv()
        except (EOFError, OSError):
            raise Fault("the process that plans the cohorts was killed, perhaps for want of memory") from None
        return planned


def _serve(connection: Connection, parent: int) -> None:
    """Plan whatever comes, until the other end is closed."""
    import signal

    from pipelines import startup

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    # While it plans it does not read, and so would not notice that its parent was killed.
    threading.Thread(target=watch, daemon=True).start()
    # Ctrl-C reaches the whole process group; the search's own process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Forked, it has inherited a handler that raises.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    startup.collect_seldom()
    while True:
        try:
            order = connection.recv()
        except EOFError:
            return
        connection.send(plan(order))
