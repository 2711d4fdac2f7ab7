"""A pretended world: a clock, what happens when, and the history that tells what goes wrong in it."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

BEGIN = datetime(2026, 11, 26, 12, tzinfo=UTC)

# What can happen, each at a minute of the history, each with a strength from 0 to 1 (how long, how many, to whom).
COMMANDS = ("up", "down", "reap", "extend", "status")  # somebody types it
PEOPLE = (*COMMANDS, "interrupt", "rival up", "rival down", "lose records", "lose laptop")
CLOUD = ("outage", "no spot", "no machines", "spot wave")
NODES = ("head vanishes", "worker vanishes", "monitor dies", "driver dies", "reboot", "watchdog dies", "timer dies")
SETUPS = ("set-ups fail", "set-ups hang")
KINDS = (*PEOPLE, *CLOUD, *NODES, *SETUPS)
BUDGETS = (0.5, 1.5, 5.0, 50.0)


@dataclass(frozen=True)
class Happening:
    """One thing that happens: `minute` after the beginning, to person number `who` or to what is theirs."""

    minute: float
    kind: str
    who: int = 0
    strength: float = 0.5


@dataclass(frozen=True)
class History:
    """Everything that chance decides.

    Attributes:
        seed: of what is small: skews, phases of timers, how long boots, set-ups and shutdowns take.
        budget: dollars, shared by all.
        people: machines that launch clusters, each its own; they share the ledger.
        hours: what the settings ask for; the budget may allow less.
        workers: of each cluster at most.
        price: of a worker, dollars per hour.
        spot: workers are spot machines where there are any.
        platform: the cloud itself ends machines at their deadline, as GCP does.
        work_hours: hours of one worker that a cluster's job takes.
        interruptions: of spot machines, per hour.
        happenings: in any order.
    """

    seed: int
    budget: float
    people: int
    hours: float
    workers: int
    price: float
    spot: bool
    platform: bool
    work_hours: float
    interruptions: float
    happenings: tuple[Happening, ...]


def drawn(random: Random) -> History:
    """Draw a history; half of what happens is within a minute of something else, for that is where races are."""
    people, hours = random.randint(1, 2), random.uniform(0.25, 3)
    happenings = [Happening(random.uniform(0, 10), "up", who) for who in range(random.randint(1, people))]
    for _ in range(random.randint(0, 8)):
        near = max(0.0, random.choice(happenings).minute + random.uniform(-1, 1))
        minute = random.choice((near, random.uniform(0, 60 * hours + 20)))
        kind = random.choice(random.choice((PEOPLE, KINDS)))
        happenings.append(Happening(minute, kind, random.randrange(people), random.random()))
    return History(
        seed=random.randrange(2**32),
        budget=random.choice(BUDGETS),
        people=people,
        hours=hours,
        workers=random.randint(1, 3),
        price=random.choice((0.2, 0.53, 4.0)),
        spot=random.random() < 0.7,
        platform=random.random() < 0.2,
        work_hours=random.uniform(0, 3 * hours),
        interruptions=random.choice((0.0, 0.2, 2.0)),
        happenings=tuple(happenings),
    )


class World:
    """The clock of the model, and what is still to happen; seconds since the beginning within, datetimes without."""

    def __init__(self, seed: int) -> None:
        self.seconds = 0.0
        self.random = Random(seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def now(self, skew: float = 0.0) -> datetime:
        """The time, as a clock tells it that is `skew` seconds fast."""
        return self.moment(self.seconds + skew)

    def moment(self, seconds: float) -> datetime:
        """The moment so many seconds after the beginning."""
        return BEGIN + timedelta(seconds=seconds)

    def since(self, moment: datetime) -> float:
        """Seconds from the beginning to `moment`."""
        return (moment - BEGIN).total_seconds()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something done in so many seconds."""
        heapq.heappush(self._queue, (self.seconds + seconds, next(self._numbers), act))

    def run(self, until: float) -> None:
        """Do what is due up to a moment."""
        while self._queue and self._queue[0][0] <= until:
            self.seconds, _, act = heapq.heappop(self._queue)
            act()
        self.seconds = max(self.seconds, until)
