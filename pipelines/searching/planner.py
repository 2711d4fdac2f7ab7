"""Plans in a process of its own: planning needs torch, which the search's process would take seconds to import."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from pipelines import zygote
from pipelines.faults import Fault
from pipelines.searching.plan_order import Order, Planned
from pipelines.searching.planning import plan

KILLED = "the process that plans the cohorts was killed, perhaps for want of memory"


@contextmanager
def planner(address: str) -> Iterator["Planner"]:
    """Yield what plans in a fork; it ends with the block at once, and with this process.

    Args:
        address: of the process that forks.

    Raises:
        Fault: that process is dead.
    """
    try:
        connection = zygote.fork(address, _serve)
    except OSError:
        raise Fault(KILLED) from None
    with connection:
        yield Planner(connection)


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
            raise Fault(KILLED) from None
        return planned

    def stop(self) -> None:
        """Have whoever waits for a plan be told at once that there will be none."""
        zygote.abandon(self._connection)


def _serve(connection: Connection) -> None:
    """Plan whatever comes, until the other end is closed."""
    with suppress(EOFError):
        while True:
            connection.send(plan(connection.recv()))
