"""What a cluster can cost at most, and how late its deadline may be for that to stay within what is left. Pure.

Workers count at their on-demand price, for a spot machine's price may rise up to it and the fallback is on-demand.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infra.cluster import Offer, Rates, Shape
from infra.faults import Refused

# Clouds divide a month's price by its hours: those of the shortest month make the dearest hour.
HOURS_OF_A_MONTH = 672.0
# The least that a machine is billed for, however short it lives.
LEAST_BILLED = timedelta(minutes=1)
# A deadline further off than this is no deadline.
FURTHEST = timedelta(days=366)
# Spot prices change. A machine is booked as if its price had risen so much since it was launched, which is what to bid
# where a cloud takes bids, as AWS does with MaxPrice: it then ends the machine before it becomes dearer.
SPOT_HEADROOM = 1.25

LEFT_OUT = (
    "traffic out of the cloud and between zones",
    "requests to the bucket and to the cloud's interfaces, fractions of a cent",
    "what stays in the bucket after its first month",
    "taxes",
    "credits and discounts, which make it cheaper",
)


@dataclass(frozen=True)
class Item:
    """One line of an estimate."""

    name: str
    dollars: float


@dataclass(frozen=True)
class Estimate:
    """What something costs at most, item by item."""

    items: tuple[Item, ...]

    @property
    def total(self) -> float:
        """The sum, in dollars."""
        return math.fsum(item.dollars for item in self.items)


def worst_case(shape: Shape, rates: Rates, start: datetime, deadline: datetime, margin: timedelta) -> Estimate:
    """Add up what the cluster costs if everything runs from `start` to the deadline and a margin beyond it.

    Args:
        margin: how long after the deadline the last machine may take to be gone.

    Raises:
        Refused: a deadline that is not after the start, or a price that is none.
    """
    if deadline <= start:
        raise Refused(f"the deadline {deadline:%Y-%m-%d %H:%M:%S %Z} is not after the start {start:%Y-%m-%d %H:%M:%S}")
    if margin < timedelta(0):
        raise Refused("the teardown margin is negative")
    check(shape, rates)
    hours, head, workers = hours_of(deadline - start), price_at_most(shape.head), price_at_most(shape.worker)
    disks, addresses = disks_hour(shape, rates), addresses_hour(shape, rates)
    count = f"{shape.workers} worker{'s' if shape.workers != 1 else ''}"
    return Estimate(
        (
            Item(f"head, {shape.head.machine.name}", head * hours),
            Item(f"{count}, {shape.worker.machine.name}, at the on-demand price", shape.workers * workers * hours),
            Item("disks", disks * hours),
            Item("public addresses", addresses * hours),
            Item("storage, a month", storage(shape, rates, deadline + margin - start)),
            Item("teardown margin", hourly(shape, rates) * hours_of(margin)),
        )
    )


def latest_deadline(shape: Shape, rates: Rates, now: datetime, margin: timedelta, left: float) -> datetime:
    """Return the latest whole second for which the worst case from `now` is at most `left` dollars.

    Raises:
        Refused: there is none, for the margin alone would cost more.
    """
    if not math.isfinite(left):
        raise Refused(f"what is left of the budget must be a number, not {left}")
    first = int(now.timestamp()) + 1
    low, high = first, int((now + FURTHEST).timestamp())
    if worst_case(shape, rates, now, moment(first), margin).total > left:
        least = worst_case(shape, rates, now, moment(first), margin).total
        raise Refused(
            f"the budget has ${max(left, 0):.2f} left, and the teardown margin of {margin.total_seconds() / 60:.0f} "
            f"minutes alone may cost ${least:.2f}"
        )
    # Rounding never makes more time cheaper, so that halving finds the very second.
    while low < high:
        middle = (low + high + 1) // 2
        if worst_case(shape, rates, now, moment(middle), margin).total <= left:
            low = middle
        else:
            high = middle - 1
    return moment(low)


def hourly(shape: Shape, rates: Rates) -> float:
    """Dollars per hour while everything runs, but for the storage."""
    machines = price_at_most(shape.head) + shape.workers * price_at_most(shape.worker)
    return machines + disks_hour(shape, rates) + addresses_hour(shape, rates)


def disks_hour(shape: Shape, rates: Rates) -> float:
    """Dollars per hour of all disks."""
    return (shape.head_disk_gb + shape.workers * shape.worker_disk_gb) * rates.disk_gb_month / HOURS_OF_A_MONTH


def addresses_hour(shape: Shape, rates: Rates) -> float:
    """Dollars per hour of all public addresses."""
    return (1 + shape.workers) * rates.address_hour


def storage(shape: Shape, rates: Rates, period: timedelta) -> float:
    """Dollars of what lies in the bucket: for a month at least, for it stays there when the machines are gone."""
    return shape.storage_gb * rates.storage_gb_month * max(1.0, hours_of(period) / HOURS_OF_A_MONTH)


def price_at_most(offer: Offer) -> float:
    """Dollars per hour that a machine can cost at most."""
    return max(offer.on_demand, offer.spot or 0.0)


def spot_ceiling(price: float, on_demand: float) -> float:
    """Dollars per hour that a spot machine launched at `price` may come to cost: what to bid, and to book."""
    return min(price * SPOT_HEADROOM, on_demand) if price < on_demand else price


def hours_of(period: timedelta) -> float:
    """A period in hours."""
    return period.total_seconds() / 3600


def moment(seconds: int) -> datetime:
    """Seconds since 1970 as a moment."""
    return datetime.fromtimestamp(seconds, UTC)


def check(shape: Shape, rates: Rates) -> None:
    """See that a shape has prices and sizes that can be reckoned with.

    Raises:
        Refused: names what cannot.
    """
    offers = {f"the price of {offer.machine.name}": offer.on_demand for offer in (shape.head, shape.worker)}
    spots = {f"the spot price of {o.machine.name}": o.spot for o in (shape.head, shape.worker) if o.spot is not None}
    sizes = {"the number of workers": shape.workers, "the head's disk": shape.head_disk_gb}
    sizes |= {"a worker's disk": shape.worker_disk_gb}
    others = {"the storage": shape.storage_gb, "the price of disks": rates.disk_gb_month}
    others |= {"the price of addresses": rates.address_hour, "the price of storage": rates.storage_gb_month}
    for name, value in offers.items():
        if not (math.isfinite(value) and value > 0):
            raise Refused(f"{name} is not known: a number above 0 is wanted, not {value}")
    for name, value in {**spots, **sizes, **others}.items():
        if not math.isfinite(value) or value < 0:
            raise Refused(f"{name} must be a number from 0 on, not {value}")
