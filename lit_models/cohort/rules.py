"""Which lanes of a cohort go on after an epoch. To add a rule, write its function and a line in `RULES`.

What a rule decides depends on results and seeds alone: on no clock, no number of workers, and no order in which lanes
are listed. Of equal lanes the one with the lower id is the better one; a rank that is not a number is the worst.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import mean, median

Rank = tuple[float, float]  # of one lane after one epoch; lower is better
# Lane id (the trial's index in the search) -> one Rank for each epoch that it has run. All lanes that ever started are
# in it: those that were dropped or diverged with shorter lists.
Ranks = Mapping[int, Sequence[Rank]]

MEDIAN_OTHERS = 3  # a median of fewer says little


@dataclass(frozen=True, kw_only=True)
class RuleSpec:
    """A rule and its settings, as plain data: `RuleSpec(**json.loads(json.dumps(asdict(spec))))` is the same.

    Attributes:
        name: a key of `RULES`.
        epochs: most epochs of a lane. Nobody is stopped after the last one.
        eta: halving, asha: one lane in `eta` goes on.
        rungs: halving, asha: 1-based epochs after which they decide, ascending, below `epochs`.
        grace: median: first epoch after which a lane may be stopped.
        interval: pbt: epochs from one exploit to the next; 0 is never.
        seed: pbt: of its draws.
        space: pbt: float hyperparameter -> (low, high, logarithmic).

    Raises:
        ValueError: a setting is out of its range.
    """

    name: str = "none"
    epochs: int
    eta: int = 3
    rungs: tuple[int, ...] = ()
    grace: int = 1
    interval: int = 0
    seed: int = 0
    space: Mapping[str, tuple[float, float, bool]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rungs", tuple(self.rungs))  # JSON has lists alone
        space = {name: (float(low), float(high), bool(log)) for name, (low, high, log) in sorted(self.space.items())}
        object.__setattr__(self, "space", space)
        if self.name not in RULES:
            raise ValueError(f"there is no rule {self.name!r}; the rules are {', '.join(RULES)}")
        for name, least in {"epochs": 1, "eta": 2, "grace": 1, "interval": 0, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not all(1 <= rung < self.epochs for rung in self.rungs):
            raise ValueError(f"rungs must be from 1 to below epochs ({self.epochs}), not {list(self.rungs)}")
        if not all(one < other for one, other in pairwise(self.rungs)):
            raise ValueError(f"rungs must ascend, not {list(self.rungs)}")
        for name, (low, high, log) in space.items():
            if not -math.inf < low <= high < math.inf or (log and low <= 0):
                kind = "positive, " if log else ""
                raise ValueError(f"the bounds of {name} must be {kind}finite and ascending, not {low} and {high}")


Rule = Callable[[RuleSpec, int, Ranks, tuple[int, ...]], Collection[int]]


def survivors(spec: RuleSpec, epoch: int, ranks: Ranks, alive: Collection[int]) -> tuple[int, ...]:
    """Say which lanes go on after an epoch, by the rule that `spec` names; its source stands at its function.

    Args:
        spec: the rule.
        epoch: 1-based, just ended. What `ranks` has of later ones is not looked at.
        ranks: of all lanes that ever started.
        alive: lanes that have run this epoch and could go on.

    Returns:
        Ids out of `alive`, ascending; at least one if there was one.

    Raises:
        ValueError: a lane is alive, but has no rank for this epoch.
    """
    lanes = tuple(sorted(set(alive)))
    if not lanes or epoch >= spec.epochs:
        return lanes
    return tuple(sorted(RULES[spec.name](spec, epoch, ranks, lanes)))


def ranking(epoch: int, ranks: Ranks, lanes: Collection[int]) -> list[int]:
    """Sort lanes by their rank at an epoch, the best first.

    Raises:
        ValueError: a lane has no rank for this epoch.
    """
    for lane in sorted(lanes):
        if len(ranks.get(lane, ())) < epoch:
            raise ValueError(f"lane {lane} has no rank for epoch {epoch}")
    return sorted(lanes, key=lambda lane: (_ordered(ranks[lane][epoch - 1]), lane))


def _ordered(rank: Rank) -> Rank:
    """Not-a-number compares with nothing; it shall be the worst."""
    first, second = rank
    return _number(first), _number(second)


def _number(value: float) -> float:
    return math.inf if math.isnan(value) else float(value)


def _none(spec: RuleSpec, epoch: int, ranks: Ranks, alive: tuple[int, ...]) -> Collection[int]:
    """Everybody goes on."""
    del spec, epoch, ranks
    return alive


def _halving(spec: RuleSpec, epoch: int, ranks: Ranks, alive: tuple[int, ...]) -> Collection[int]:
    """Successive halving (Jamieson & Talwalkar 2016): of n lanes at the start, n / eta are left after the first rung.

    The count is of those that started: lanes that diverged leave their places to others.
    """
    if epoch not in spec.rungs:
        return alive
    keep = len(ranks) // spec.eta ** (spec.rungs.index(epoch) + 1)
    return ranking(epoch, ranks, alive)[: max(1, keep)]


def _asha(spec: RuleSpec, epoch: int, ranks: Ranks, alive: tuple[int, ...]) -> Collection[int]:
    """Asynchronous successive halving (Li et al. 2020), where lanes stop and do not wait to be promoted.

    Lanes arrive at a rung in the order of their ids, whoever was faster. One goes on if it is in the best 1 / eta
    of those that arrived so far, itself among them.
    """
    if epoch not in spec.rungs:
        return alive
    go_on = set(ranking(epoch, ranks, alive)[:1])  # a better lane may have come here and be alive no more
    arrived: list[tuple[Rank, int]] = []
    for lane in sorted(lane for lane, run in ranks.items() if len(run) >= epoch):
        entry = (_ordered(ranks[lane][epoch - 1]), lane)
        insort(arrived, entry)
        if bisect_left(arrived, entry) < math.ceil(len(arrived) / spec.eta):
            go_on.add(lane)
    return go_on.intersection(alive)


def _median(spec: RuleSpec, epoch: int, ranks: Ranks, alive: tuple[int, ...]) -> Collection[int]:
    """Median stopping (Golovin et al. 2017): stop whose best is worse than the median of the others' running means.

    Others are all lanes that have run this far. Means are of the first number of a rank.
    """
    if epoch < spec.grace:
        return alive
    ranking(epoch, ranks, alive)  # refuses a lane that has not run this far
    runs = {lane: [_ordered(rank) for rank in run[:epoch]] for lane, run in ranks.items() if len(run) >= epoch}
    if len(runs) <= MEDIAN_OTHERS:
        return alive
    # statistics.mean is exact: the mean of equal numbers is that number, on every machine.
    means = {lane: _number(mean(first for first, _ in run)) for lane, run in runs.items()}
    others = {lane: median(value for other, value in means.items() if other != lane) for lane in alive}
    best = min(alive, key=lambda lane: (min(runs[lane]), lane))
    return [lane for lane in alive if lane == best or not min(runs[lane])[0] > others[lane]]


RULES: dict[str, Rule] = {
    "none": _none,
    "halving": _halving,
    "asha": _asha,
    "median": _median,
    "pbt": _none,  # stops nobody; lanes copy one another, see population.py
}


@dataclass(frozen=True)
class Bracket:
    """A cohort that runs under successive halving with these rungs."""

    trials: int
    rungs: tuple[int, ...]


def rungs(epochs: int, eta: int, grace: int) -> tuple[int, ...]:
    """List the rungs of successive halving (Jamieson & Talwalkar 2016): grace, grace * eta, … below `epochs`.

    Raises:
        ValueError: epochs or grace below 1, eta below 2.
    """
    RuleSpec(epochs=epochs, eta=eta, grace=grace)
    found = []
    while grace < epochs:
        found.append(grace)
        grace *= eta
    return tuple(found)


def brackets(trials: int, epochs: int, eta: int, grace: int) -> list[Bracket]:
    """Divide trials among the brackets of Hyperband (Li et al. 2018), the one that stops earliest first.

    Bracket s has the last s of all rungs. The trials are shared in proportion to Hyperband's
    n_s = ceil((s_max + 1) / (s + 1) * eta ** s), by largest remainder; a bracket that gets none is left out.

    Raises:
        ValueError: trials, epochs or grace below 1, eta below 2.
    """
    if trials < 1:
        raise ValueError(f"trials must be at least 1, not {trials}")
    every = rungs(epochs, eta, grace)
    most = len(every)
    weights = [-((most + 1) * eta**s // -(s + 1)) for s in range(most, -1, -1)]
    shares = [divmod(trials * weight, sum(weights)) for weight in weights]
    counts = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(shares)), key=lambda place: (-shares[place][1], place))
    for place in by_remainder[: trials - sum(counts)]:
        counts[place] += 1
    return [Bracket(count, every[place:]) for place, count in enumerate(counts) if count]
