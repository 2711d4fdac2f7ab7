"""The events that a ledger is made of, how one is written down, and what a place that keeps them must do.

In a bucket each event is an object of its own, numbered, that can be created only once: whoever loses the race for a
number reads again and decides anew.
"""

import json
import math
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, get_args

from infra.faults import Fault

Kind = Literal["reserved", "launched", "seen", "ended", "settled"]
MOMENTS = ("at", "since", "deadline")


@dataclass(frozen=True)
class Event:
    """One line of the ledger.

    Attributes:
        number: from 1, without gaps; assigned by whoever appends.
        at: when.
        kind: reserved: `dollars` is all that the run may cost at most, in place of what it had reserved before;
            launched: `node` began at `since` to cost `price` an hour (0: not known); seen: the cloud was asked at `at`
            and told of every machine that cost money at any time from `since` on, `nodes` being those that still do;
            ended: `node` cost money until `at`, or, where the cloud does not say when it ended, at most until `at` and
            at least until `since`; settled: the run is over, nothing of it is left, and it cost `dollars`.
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


class MemoryStore:
    """Events in memory: for simulations, dry runs and tests."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def read(self) -> list[Event]:
        """Return all events in the order of their numbers."""
        return list(self._events)

    def append(self, event: Event) -> None:
        """Keep an event; raises `Taken` when there is one of its number."""
        follows(event, len(self._events))
        self._events.append(event)


def follows(event: Event, last: int) -> None:
    """See that an event is the one that comes after number `last`.

    Raises:
        Taken: there is an event of its number.
    """
    if event.number <= last:
        raise Taken(f"event {event.number} is there already")
    if event.number > last + 1:
        raise ValueError(f"event {event.number} would leave a gap after {last}")


def encode(event: Event) -> str:
    """Write an event as one line of JSON, without the newline; what is at its default is left out."""
    line: dict[str, Any] = {}
    for field in fields(event):
        value = getattr(event, field.name)
        if value == field.default:
            continue
        line[field.name] = value.astimezone(UTC).isoformat() if field.name in MOMENTS else value
    return json.dumps(line, allow_nan=False, separators=(",", ":"))


def decode(text: str) -> Event:
    """Read what `encode` wrote.

    Raises:
        Fault: it is no event.
    """
    try:
        line = json.loads(text)
        for name in MOMENTS:
            if name in line:
                line[name] = datetime.fromisoformat(line[name])
        line["nodes"] = tuple(line.get("nodes", ()))
        event = Event(**line)
        valid = event.kind in get_args(Kind) and isinstance(event.run, str) and isinstance(event.number, int)
        dollars = (event.dollars, event.price)
        if not valid or not all(math.isfinite(value) and value >= 0 for value in dollars) or event.at.tzinfo is None:
            raise ValueError(text)
    except (ValueError, TypeError, AttributeError) as error:
        raise Fault(f"this is no event of a ledger: {text[:200]!r}") from error
    return event
