"""What would be launched, what it costs, and until when: what `fifty plan` prints and `fifty up` carries out. Pure."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.account import Ledger
from infra.budget import Estimate, hourly, hours_of, latest_deadline, moment, worst_case
from infra.choice import Ranked, choose_head, price_today, rank
from infra.cluster import Offer, Rates, Shape
from infra.faults import Refused
from infra.settings import CloudConfig

# What the project keeps in its bucket, the ledger above all.
STORAGE_GB = 0.1
# The last dollar is reserved by sums that round otherwise than this difference does.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Plan:
    """A cluster to be, with its price.

    Attributes:
        cloud: a key of the table of providers.
        source: where the prices are from, in words.
        start: now.
        deadline: when every machine is off; `wanted` is what was asked for, which the budget may not allow.
        setup: minutes of the time before the deadline that pass before a new machine does its first work.
        estimate: the worst case, to be reserved.
        today: what the time until the deadline costs at today's prices, spot where it is to be had.
        spent: dollars spent before; `reserved`: what open runs may still come to.
        left: what the budget has left before this.
        ranking: the machines that fit, the best first.
    """

    cloud: str
    region: str
    source: str
    shape: Shape
    rates: Rates
    start: datetime
    deadline: datetime
    wanted: datetime
    margin: timedelta
    setup: timedelta
    estimate: Estimate
    today: float
    budget: float
    spent: float
    reserved: float
    left: float
    ranking: tuple[Ranked, ...]

    @property
    def shortened(self) -> bool:
        """Whether the budget allows less time than was asked for, so that `fifty up` would refuse."""
        return self.deadline < self.wanted

    @property
    def hours(self) -> float:
        """Hours until the deadline, rounded down to what one would write as `cloud.hours`."""
        return math.floor(hours_of(self.deadline - self.start) * 100) / 100

    @property
    def setup_dollars(self) -> float:
        """What the set-up of the whole cluster costs at most; part of the estimate."""
        return hourly(self.shape, self.rates) * hours_of(min(self.setup, self.deadline - self.start))


def make(
    cloud: str,
    settings: CloudConfig,
    offered: tuple[list[Offer], Rates, str],
    ledger: Ledger,
    now: datetime,
) -> Plan:
    """Choose machines and a deadline such that the worst case is within what the budget has left.

    Args:
        offered: as `Provider.offers` and `prices.offers` return it.

    Raises:
        Refused: no machine fits, or neither the hours nor the budget last even for the set-up.
    """
    offers, rates, source = offered
    left = _left(settings.budget_usd, ledger)
    wanted = moment(math.ceil((now + timedelta(hours=settings.hours)).timestamp()))
    ranking = rank(cloud, offers, settings, settings.throughput)
    shape = _shape(settings, choose_head(cloud, offers, settings), ranking[0].offer)
    margin = timedelta(minutes=settings.margin_minutes)
    deadline = min(wanted, latest_deadline(shape, rates, now, margin, left - ROUNDING))
    setup = timedelta(minutes=settings.setup_minutes)
    if wanted - now <= setup:
        raise Refused(
            f"cloud.hours: {settings.hours:g} hours are over before machines are set up, which takes about "
            f"{minutes(setup)} minutes (cloud.setup_minutes)"
        )
    if deadline - now <= setup:
        raise Refused(
            f"the budget has ${left:.2f} left, which at worst lasts {minutes(deadline - now)} minutes, and to set "
            f"machines up takes {minutes(setup)}; take fewer or cheaper workers, or raise cloud.budget_usd"
        )
    return Plan(
        cloud=cloud,
        region=ranking[0].offer.region,
        source=source,
        shape=shape,
        rates=rates,
        start=now,
        deadline=deadline,
        wanted=wanted,
        margin=margin,
        setup=setup,
        estimate=worst_case(shape, rates, now, deadline, margin),
        today=_today(shape, rates) * hours_of(deadline - now),
        budget=settings.budget_usd,
        spent=ledger.spent(now),
        reserved=ledger.reserved(),
        left=left,
        ranking=tuple(ranking),
    )


def _shape(settings: CloudConfig, head: Offer, worker: Offer) -> Shape:
    storage = STORAGE_GB if settings.ledger == "bucket" else 0.0
    return Shape(head, worker, settings.workers, settings.spot, settings.disk_gb, settings.disk_gb, storage)


def minutes(period: timedelta) -> str:
    """A period in minutes, rounded down."""
    return f"{math.floor(period.total_seconds() / 60)}"


def _left(budget: float, ledger: Ledger) -> float:
    if not (math.isfinite(budget) and budget > 0):
        raise Refused(f"cloud.budget_usd must be a number above 0, not {budget:g}")
    left = budget - ledger.committed()
    if left <= 0:
        raise Refused(
            f"the budget of ${budget:.2f} (cloud.budget_usd) is spent or reserved: ${ledger.committed():.2f} of it"
        )
    return left


def _today(shape: Shape, rates: Rates) -> float:
    saved = shape.worker.on_demand - price_today(shape.worker, spot=shape.spot)
    return hourly(shape, rates) - shape.workers * saved
