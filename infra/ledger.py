"""The ledger: an append-only list of what was reserved, launched, seen, ended and settled, and what follows from it.

Pure but for `LocalStore`, which keeps the events in one file. In a bucket each event is an object of its own, numbered,
that can be created only once: whoever loses the race for a number reads again and decides anew.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Kind = Literal["reserved", "launched", "seen", "ended", "settled"]


@dataclass(frozen=True)
class Event:
    """One line of the ledger.

    Attributes:
        number: from 1, without gaps; assigned by whoever appends.
        at: when.
        kind: reserved: `dollars` is all that the run may cost at most, in place of what it had reserved before;
            launched: `node` began at `since` to cost `price` an hour; seen: the cloud was asked at `at` and told of
            every machine, `nodes` being those that cost money; ended: `node` cost money until `at`; settled: the run is
            over, nothing of it is left, and it cost `dollars`.
        run: whose.
        deadline: of the run, on `reserved`.
    """

    number: int
    at: datetime
    kind: Kind
    run: str
    dollars: float = 0.0
    node: str = ""
    price: float = 0.0
    since: datetime | None = None
    deadline: datetime | None = None
    nodes: tuple[str, ...] = ()


class Taken(Exception):
    """Somebody else has appended an event of this number; read again and decide anew."""


class EventStore(Protocol):
    """Where events are kept."""

    def read(self) -> list[Event]:
        """Return all events in the order of their numbers."""

    def append(self, event: Event) -> None:
        """Keep an event, whole or not at all; it is safe when the call returns.

        Raises:
            Taken: there is an event of this number.
        """
