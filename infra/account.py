"""What the events of a ledger come to: what is committed, and what was spent. Pure."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from infra.events import Event
from infra.faults import Fault
from infra.history import Life, lives


@dataclass(frozen=True)
class Account:
    """One run in the ledger.

    Attributes:
        start: when it was first reserved.
        reserved: dollars that it may cost at most.
        settled: dollars that it has cost; None while it is open.
    """

    id: str
    start: datetime
    reserved: float
    deadline: datetime | None
    settled: float | None
    events: tuple[Event, ...]

    @property
    def lives(self) -> tuple[Life, ...]:
        """Its machines."""
        return lives(self.events)

    @property
    def committed(self) -> float:
        """Dollars of the budget that are bound by it; machines found after the settlement add to what it came to."""
        return self.reserved if self.settled is None else max(self.settled, self._least())

    def spent(self, now: datetime) -> float:
        """Dollars that its machines have cost; disks and addresses come with the settlement."""
        if self.settled is not None:
            return self.committed
        most = math.fsum(life.price * _hours(life, life.until or max(now, life.certain)) for life in self.lives)
        return max(self._least(), min(most, self.reserved))

    def _least(self) -> float:
        return math.fsum(life.price * _hours(life, life.certain) for life in self.lives)


def _hours(life: Life, until: datetime) -> float:
    return max(0.0, (until - life.since).total_seconds() / 3600)


class Ledger:
    """What the events come to.

    Raises:
        Fault: an event is missing, so that nobody can tell what is committed.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        of_run: dict[str, list[Event]] = defaultdict(list)
        for number, event in enumerate(events, start=1):
            if event.number != number:
                raise Fault(f"event {number} of the ledger is missing; nothing can be reserved until it is back")
            of_run[event.run].append(event)
        self.size = len(events)
        self.runs = {id_: account for id_, own in of_run.items() if (account := _account(id_, own)) is not None}

    def committed(self) -> float:
        """Dollars that cannot be spent again: what ended runs have cost, and what open ones may cost at most."""
        return math.fsum(account.committed for account in self.runs.values())

    def spent(self, now: datetime) -> float:
        """Dollars spent, as far as is known: settled runs, and the machines of open ones."""
        return math.fsum(account.spent(now) for account in self.runs.values())

    def reserved(self) -> float:
        """Dollars that open runs may cost at most."""
        return math.fsum(account.reserved for account in self.open_runs())

    def open_runs(self) -> list[Account]:
        """Runs that are reserved and not settled, the oldest first."""
        return [account for account in self.runs.values() if account.settled is None]

    def run(self, id: str) -> Account | None:  # noqa: A002 - it is the field's name
        """One run, or None if nothing was ever reserved for it."""
        return self.runs.get(id)


def _account(id_: str, events: Sequence[Event]) -> Account | None:
    reservations = [event for event in events if event.kind == "reserved"]
    if not reservations:
        return None
    last, settled = reservations[-1], [event.dollars for event in events if event.kind == "settled"]
    return Account(
        id_, reservations[0].at, last.dollars, last.deadline, settled[-1] if settled else None, tuple(events)
    )
