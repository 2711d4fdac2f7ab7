"""What the events of one run say about its machines: when each cost money, and for what stretches nobody looked. Pure.

A cloud tells of a machine that has ended for a while only, its memory. An observation therefore covers the stretch
from `since` to `at`: every machine that cost money in it is known. What lies in no such stretch is a gap, in which
everything that the shape allows may have run unseen.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from infra.budget import HOURS_OF_A_MONTH, LEAST_BILLED, hourly, hours_of, spot_ceiling, storage
from infra.cluster import Rates, Run
from infra.events import Event

# A price on a tag is a whole number of millionths of a dollar.
TAG_STEP = 1e-6
# From the last look to the settlement.
LAST_LOOK = timedelta(minutes=5)


@dataclass(frozen=True)
class Life:
    """One machine of a run.

    Attributes:
        price: dollars per hour when it was launched; 0 if it is not known.
        certain: until then at least it cost money.
        until: until then at most; None while it still does, as far as is known.
    """

    node: str
    since: datetime
    price: float
    certain: datetime
    until: datetime | None


def lives(events: Sequence[Event]) -> tuple[Life, ...]:
    """Return every machine of a run, given the run's events."""
    launched: dict[str, Event] = {}
    ended: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind == "launched":
            launched.setdefault(event.node, event)
        elif event.kind == "ended":
            ended[event.node].append(event)
    seen = observations(events)
    return tuple(_life(event, ended[event.node], seen) for event in launched.values())


def observations(events: Sequence[Event]) -> list[Event]:
    """Return the events of kind `seen` in the order of their moments."""
    return sorted((event for event in events if event.kind == "seen"), key=lambda event: event.at)


def _life(launched: Event, ends: Sequence[Event], seen: Sequence[Event]) -> Life:
    since = launched.since or launched.at
    last = max([since, *(event.at for event in seen if launched.node in event.nodes)])
    life = Life(launched.node, since, launched.price, last, None)
    # Seen alive after an end: the cloud had not yet told of the machine, as happens in its first seconds.
    valid = [event for event in ends if event.at >= last]
    exact = [event.at for event in valid if event.since is None]
    if exact:
        return replace(life, certain=max(exact), until=max(exact))
    if valid:
        end = min(valid, key=lambda event: event.at)
        return replace(life, certain=max(last, end.since or last), until=end.at)
    later = [event for event in seen if event.at > last]
    if not later:
        return life
    # Gone without a word. Where nobody looked for longer than the cloud remembers, the gap is charged as a whole.
    forgotten = all((event.since or event.at) > last for event in later)
    return replace(life, until=last if forgotten else later[0].at)


def gaps(events: Sequence[Event], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return the stretches from `start` to `end` that no observation covers."""
    found: list[tuple[datetime, datetime]] = []
    for since, at in sorted((event.since or event.at, event.at) for event in events if event.kind == "seen"):
        if start >= end:
            break
        if since > start:
            found.append((start, min(since, end)))
        start = max(start, at)
    if start < end:
        found.append((start, end))
    return found


def cost(
    events: Sequence[Event], run: Run, rates: Rates, now: datetime, *, margin: timedelta | None = None
) -> tuple[float, float]:
    """Return what a run has cost by `now`: at least, and at most, in dollars.

    Machines that the cloud told of count for just as long as they ran, each with its disk and address; in a gap
    everything that the shape allows is taken to have run.

    Args:
        events: of this run.
        margin: after the deadline and so long nothing runs; None: nothing is known about that.
    """
    known = lives(events)
    stored = storage(run.shape, rates, now - run.start)
    cheap = [_price(life, run, rates, min) * _hours(life.since, life.certain) for life in known]
    dear = {life.node: _price(life, run, rates, max) for life in known}
    most = [dear[life.node] * _hours(life.since, life.until or max(now, life.certain)) for life in known]
    for begin, stop in gaps(events, run.start, _end(events, run, now, margin)):
        whole = hourly(run.shape, rates) * hours_of(stop - begin)
        most.append(max(0.0, whole - math.fsum(dear[life.node] * _within(life, begin, stop) for life in known)))
    return stored + math.fsum(cheap), stored + math.fsum(most)


def _end(events: Sequence[Event], run: Run, now: datetime, margin: timedelta | None) -> datetime:
    """Until when something may have run unseen."""
    seen = observations(events)
    # Whoever settles has just seen that nothing is left, and what is not there does not begin to run by itself.
    if seen and not seen[-1].nodes and now - seen[-1].at <= LAST_LOOK:
        now = min(now, seen[-1].at)
    if margin is None:
        return now
    deadlines = [event.deadline for event in events if event.kind == "reserved" and event.deadline is not None]
    return min(now, max([run.deadline, *deadlines]) + margin)


def _within(life: Life, begin: datetime, stop: datetime) -> float:
    """Hours of a machine's life between two moments."""
    until = stop if life.until is None else min(stop, life.until)
    return max(0.0, hours_of(until - max(begin, life.since)))


def _hours(since: datetime, until: datetime) -> float:
    return hours_of(max(until - since, LEAST_BILLED))


def _price(life: Life, run: Run, rates: Rates, which: Callable[[float, float], float]) -> float:
    """Dollars per hour of a machine with its disk and its address, where it is not certain the `min` or the `max`."""
    shape = run.shape
    disk = which(shape.head_disk_gb, shape.worker_disk_gb) * rates.disk_gb_month / HOURS_OF_A_MONTH
    head, worker = shape.head.on_demand, shape.worker.on_demand
    exact = [price for price in (head, worker) if abs(price - life.price) <= TAG_STEP]
    if life.price <= 0:
        price = which(head, worker)
    elif exact:
        price = exact[0]
    else:
        # A spot machine's price may have risen since it was launched, up to what is bid for it.
        price = which(life.price, spot_ceiling(life.price, worker) if shape.spot else life.price)
    return price + disk + rates.address_hour
