"""Which machines do what the settings ask for, and which of them gives the most for a dollar. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from infra.cluster import Machine, Offer
from infra.faults import Refused
from infra.prices import find
from infra.settings import CloudConfig

# The head runs the driver, the dashboards and the stages before and after the search.
HEAD_CORES, HEAD_MEMORY_GB = 2, 7.5
# AWS lends these processor time by credits; out of credits they cost more than their price, which no plan could cap.
BURSTABLE = ("t2.", "t3.", "t3a.", "t4g.")


@dataclass(frozen=True)
class Ranked:
    """A machine that fits.

    Attributes:
        price: dollars per hour today: spot, if that is asked for and to be had.
        per: dollars per unit of work, per GPU-hour, or per hour of a core, as `basis` says.
        throughput: units of work per hour, where it was measured.
    """

    offer: Offer
    price: float
    per: float
    basis: Literal["unit", "GPU-hour", "core-hour"]
    throughput: float | None = None


def price_today(offer: Offer, *, spot: bool) -> float:
    """Dollars per hour of a machine, spot if that is asked for and to be had."""
    return offer.spot if spot and offer.spot is not None else offer.on_demand


def rank(cloud: str, offers: Iterable[Offer], settings: CloudConfig, throughput: Mapping[str, float]) -> list[Ranked]:
    """Return the machines that will do as workers, the cheapest work first; what was measured comes before the rest.

    Raises:
        Refused: there is none, or the one that the settings name is unknown or will not do.
    """
    for name, units in throughput.items():
        if not (math.isfinite(units) and units > 0):
            raise Refused(f"the throughput of {name} must be a number above 0, not {units:g}")
    offers, named = _priced(offers), named_machines(cloud, settings)[1]
    fitting = [_named(offers, named, settings)] if named else [o for o in offers if not _lacks(o.machine, settings)]
    if not fitting:
        raise Refused(
            f"no machine there has {_gpus(settings)}{settings.cores} cores and {settings.memory_gb:g} GB of memory; "
            "ask for less in the section cloud of params.yaml"
        )
    ranked = [_ranked(offer, settings, throughput.get(offer.machine.name)) for offer in fitting]
    return sorted(ranked, key=lambda one: (one.basis != "unit", round(one.per, 6), one.price, one.offer.machine.name))


def choose_head(cloud: str, offers: Iterable[Offer], settings: CloudConfig) -> Offer:
    """Return the machine for the head: the one that is named, or the cheapest that will do. It is never a spot one.

    Raises:
        Refused: there is none, or the one that the settings name is unknown or will not do.
    """
    offers, named = _priced(offers), named_machines(cloud, settings)[0]
    if named:
        offers = [find(offers, named)]
    fitting = [
        offer
        for offer in offers
        if offer.machine.cores >= HEAD_CORES
        and offer.machine.memory_gb >= HEAD_MEMORY_GB
        and not offer.machine.name.startswith(BURSTABLE)
    ]
    if not fitting:
        what = f"{named!r} will not do as head, which" if named else "no machine there will do as head, which"
        raise Refused(
            f"{what} needs {HEAD_CORES} cores, {HEAD_MEMORY_GB:g} GB of memory, and a price that is the whole"
        )
    return min(fitting, key=lambda offer: (offer.on_demand, offer.machine.name))


def named_machines(cloud: str, settings: CloudConfig) -> tuple[str, str]:
    """Return the head and the worker that the settings name; empty for `auto`."""
    section = getattr(settings, cloud, None)
    head, worker = getattr(section, "head", "auto"), getattr(section, "worker", "auto")
    return "" if head == "auto" else head, "" if worker == "auto" else worker


def _gpus(settings: CloudConfig) -> str:
    return f"{settings.gpus} x GPU of {settings.gpu_memory_gb:g} GB, " if settings.gpus else ""


def _priced(offers: Iterable[Offer]) -> list[Offer]:
    """What can be reckoned with: an offer without a price is no gift."""
    return [offer for offer in offers if math.isfinite(offer.on_demand) and offer.on_demand > 0]


def _named(offers: list[Offer], name: str, settings: CloudConfig) -> Offer:
    offer = find(offers, name)
    if lacks := _lacks(offer.machine, settings):
        raise Refused(f"{name!r} will not do as worker: it {lacks}")
    return offer


def _lacks(machine: Machine, settings: CloudConfig) -> str:
    """What a machine lacks that the settings ask of a worker; empty: nothing."""
    if machine.gpus < settings.gpus:
        return f"has {machine.gpus or 'no'} GPUs, and cloud.gpus is {settings.gpus}"
    if settings.gpus and machine.gpu_memory_gb < settings.gpu_memory_gb:
        return f"has GPUs of {machine.gpu_memory_gb:g} GB, and cloud.gpu_memory_gb is {settings.gpu_memory_gb:g}"
    if not settings.gpus and machine.gpus:
        return "has a GPU, and cloud.gpus is 0"
    if machine.cores < settings.cores:
        return f"has {machine.cores} cores, and cloud.cores is {settings.cores}"
    if machine.memory_gb < settings.memory_gb:
        return f"has {machine.memory_gb:g} GB of memory, and cloud.memory_gb is {settings.memory_gb:g}"
    if machine.name.startswith(BURSTABLE):
        return "may cost more than its price, for its processor is lent by credits"
    return ""


def _ranked(offer: Offer, settings: CloudConfig, units: float | None) -> Ranked:
    price = price_today(offer, spot=settings.spot)
    if units is not None:
        return Ranked(offer, price, price / units, "unit", units)
    if settings.gpus:
        return Ranked(offer, price, price / offer.machine.gpus, "GPU-hour")
    return Ranked(offer, price, price / offer.machine.cores, "core-hour")
