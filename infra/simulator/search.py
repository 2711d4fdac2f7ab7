"""What a search may be expected to cost and to take on 1 to 1,000 nodes, with and without spot machines.

A search is trials that wait in a queue; every node takes one at a time. A spot machine may be taken away: what its
trial has done since the last checkpoint is lost, the rest of it goes back to the head of the queue, and a new machine
is set up for it. Pure but for the random numbers, which come from a seed.
"""

import heapq
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

from infra.budget import HOURS_OF_A_MONTH, hours_of, worst_case
from infra.cluster import Rates, Shape

NODES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
REPEATS = 20
SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Work:
    """A search.

    Attributes:
        trials: how many.
        hours: that one takes on a node, on average.
        spread: trials take from `1 - spread` to `1 + spread` times as long.
    """

    trials: int = 1000
    hours: float = 0.05
    spread: float = 0.5


@dataclass(frozen=True)
class Circumstances:
    """What else decides.

    Attributes:
        setup: from the asking for a machine to its first work; first the head, then the workers.
        interruptions: of a spot machine, per hour.
        no_spot: share of machines for which there is no spot one, and which are on-demand.
        checkpoint: from one checkpoint of a trial to the next.
        idle: after so long without work a worker ends.
        margin: paid for beyond the deadline in the worst case.
    """

    setup: timedelta = timedelta(minutes=10)
    interruptions: float = 0.05
    no_spot: float = 0.1
    checkpoint: timedelta = timedelta(minutes=5)
    idle: timedelta = timedelta(minutes=10)
    margin: timedelta = timedelta(minutes=10)


@dataclass(frozen=True)
class Row:
    """A search on so many nodes.

    Attributes:
        hours, dollars: expected, from asking for the head until everything is down.
        hours_late, dollars_most: in 19 of 20 cases it is no more.
        interruptions: expected.
        repeated: hours of work that were done twice, expected.
        reserved: what `fifty up` would reserve for `hours_late`.
    """

    nodes: int
    spot: bool
    hours: float
    hours_late: float
    dollars: float
    dollars_most: float
    interruptions: float
    repeated: float
    reserved: float


def simulate_table(
    shape: Shape,
    rates: Rates,
    work: Work | None = None,
    circumstances: Circumstances | None = None,
    nodes: Sequence[int] = NODES,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> list[Row]:
    """Simulate a search on each number of nodes, on-demand and then, where the worker has a spot price, on spot.

    Args:
        shape: its head, its worker and their disks; how many workers comes from `nodes`.
        repeats: searches per row.
    """
    work, circumstances, rows = work or Work(), circumstances or Circumstances(), []
    for spot in (False, True) if shape.worker.spot is not None else (False,):
        for number in nodes:
            # The same trials in every row of a number: rows differ by what they are, not by luck.
            random, sized = Random(f"{seed} {number}"), replace(shape, workers=number, spot=spot)
            ends = [_Search(sized, rates, work, circumstances, random).run() for _ in range(repeats)]
            rows.append(_row(sized, rates, circumstances, ends))
    return rows


@dataclass(frozen=True)
class _End:
    hours: float
    dollars: float
    interruptions: int
    repeated: float


def _row(shape: Shape, rates: Rates, circumstances: Circumstances, ends: Sequence[_End]) -> Row:
    late = _late([end.hours for end in ends])
    worst = worst_case(shape, rates, SOME_DAY, SOME_DAY + timedelta(hours=late), circumstances.margin)
    return Row(
        nodes=shape.workers,
        spot=shape.spot,
        hours=statistics.fmean(end.hours for end in ends),
        hours_late=late,
        dollars=statistics.fmean(end.dollars for end in ends),
        dollars_most=_late([end.dollars for end in ends]),
        interruptions=statistics.fmean(end.interruptions for end in ends),
        repeated=statistics.fmean(end.repeated for end in ends),
        reserved=worst.total,
    )


def _late(values: Sequence[float]) -> float:
    """What 19 of 20 do not pass."""
    return sorted(values)[min(len(values) - 1, -(-len(values) * 19 // 20) - 1)]


@dataclass(eq=False)
class _Node:
    launched: float
    dies: float
    price: float
    trial: float = 0.0  # hours that it had left when this node took it; 0: none
    taken: float = 0.0  # when it took it, or became idle


class _Search:
    """One search, in hours from the asking for the head."""

    def __init__(self, shape: Shape, rates: Rates, work: Work, circumstances: Circumstances, random: Random) -> None:
        self.shape, self.rates, self.circumstances, self.random = shape, rates, circumstances, random
        low, high = work.hours * (1 - work.spread), work.hours * (1 + work.spread)
        self.waiting = deque(random.uniform(low, high) for _ in range(work.trials))
        self.running = self.coming = self.interruptions = 0
        self.repeated = self.dollars = 0.0
        self.idle: list[_Node] = []
        self.events: list[tuple[float, int, _Node]] = []
        self.numbers = count()
        self.now = hours_of(circumstances.setup)

    def run(self) -> _End:
        """Do all trials."""
        for _ in range(min(self.shape.workers, len(self.waiting))):
            self._launch()
        while self.waiting or self.running:
            self.now, _, node = heapq.heappop(self.events)
            if self.now >= node.dies:
                self._die(node)
            elif node.trial:
                self.running -= 1
                self._take(node)
            else:
                self.coming -= 1
                self._take(node)
        self._all_down()
        return _End(self.now, self.dollars, self.interruptions, self.repeated)

    def _launch(self) -> None:
        offer, random, circumstances = self.shape.worker, self.random, self.circumstances
        price, dies = offer.on_demand, float("inf")
        if self.shape.spot and offer.spot is not None and random.random() >= circumstances.no_spot:
            price = offer.spot
            if circumstances.interruptions:
                dies = self.now + random.expovariate(circumstances.interruptions)
        node = _Node(self.now, dies, price)
        self.coming += 1
        self._next(node, self.now + hours_of(circumstances.setup))

    def _next(self, node: _Node, moment: float) -> None:
        """The node is done then with what it does, unless it is taken away before."""
        heapq.heappush(self.events, (min(moment, node.dies), next(self.numbers), node))

    def _take(self, node: _Node) -> None:
        """Take a trial, or wait for one."""
        node.taken, node.trial = self.now, self.waiting.popleft() if self.waiting else 0.0
        if node.trial:
            self.running += 1
            self._next(node, self.now + node.trial)
        else:
            self.idle.append(node)

    def _die(self, node: _Node) -> None:
        """A spot machine is taken away; another goes on with its trial from the last checkpoint."""
        self.interruptions += 1
        self._pay(node, self.now)
        if node.trial:
            self.running -= 1
            done, step = self.now - node.taken, hours_of(self.circumstances.checkpoint)
            kept = done // step * step if step else done
            self.repeated += done - kept
            self.waiting.appendleft(node.trial - kept)
        else:
            self.coming -= 1
        while self.idle and self.waiting:
            other = self.idle.pop()
            if min(other.dies, other.taken + hours_of(self.circumstances.idle)) > self.now:
                self._take(other)
            else:
                self._end_idle(other)
        if len(self.waiting) > self.coming:
            self._launch()

    def _end_idle(self, node: _Node) -> None:
        self._pay(node, min(self.now, node.dies, node.taken + hours_of(self.circumstances.idle)))

    def _all_down(self) -> None:
        """The last trial is done: everything still there goes down."""
        for node in self.idle:
            self._end_idle(node)
        for _, _, node in self.events:
            self._pay(node, min(self.now, node.dies))
        shape = self.shape
        self.dollars += self.now * (shape.head.on_demand + self._besides(shape.head_disk_gb))
        self.dollars += shape.storage_gb * self.rates.storage_gb_month

    def _pay(self, node: _Node, until: float) -> None:
        self.dollars += (until - node.launched) * (node.price + self._besides(self.shape.worker_disk_gb))

    def _besides(self, disk_gb: float) -> float:
        """Dollars per hour of a disk and an address."""
        return disk_gb * self.rates.disk_gb_month / HOURS_OF_A_MONTH + self.rates.address_hour
