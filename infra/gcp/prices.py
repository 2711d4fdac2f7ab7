"""Live prices, from the Cloud Billing catalog: there a machine has no price, but its cores, memory and GPUs have."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from infra.cluster import Machine, Offer, Rates
from infra.faults import CloudFault
from infra.gcp import machines
from infra.gcp.clients import Clients, Json
from infra.gcp.names import region

COMPUTE, STORAGE = "services/6F81-5844-456A", "services/95FF-2EF5-5EA1"
FIELDS = (
    "nextPageToken,skus(description,category/usageType,serviceRegions,"
    "pricingInfo/pricingExpression(usageUnit,tieredRates))"
)
SPOT = r"(?P<spot>Spot Preemptible )?"
PART = re.compile(SPOT + r"(?P<family>[A-Z]\w+)( Predefined| AMD)? Instance (?P<part>Core|Ram) running in .*")
GPU = re.compile(r"Nvidia (?P<gpu>.+?) GPU (?P<spot>attached to Spot Preemptible VMs )?running in .*")
# How the catalog calls GPUs. It has others, which `fifty` does not offer.
CALLED = {
    "nvidia-tesla-t4": "Tesla T4",
    "nvidia-tesla-v100": "Tesla V100",
    "nvidia-l4": "L4",
    "nvidia-tesla-a100": "Tesla A100",
    "nvidia-a100-80gb": "Tesla A100 80GB",
}
FAMILIES = ("e2", "n1", "n2", "n2d", "c2", "g2", "a2")
ATTACHED = ("nvidia-tesla-t4", "nvidia-tesla-v100")  # to machines of the family n1 of 2 to 16 cores
STORED = "Standard Storage"

Prices = dict[tuple[str, str, bool], float]


def offers(clients: Clients, zone: str) -> tuple[list[Offer], Rates, str]:
    """Every machine of the zone whose parts have prices."""
    place = region(zone)
    skus = [sku for sku in catalog(clients, COMPUTE) if place in sku.get("serviceRegions", ())]
    prices = parts(skus)
    there = [one["name"] for one in machines.accelerators(clients, zone) if one["name"] in ATTACHED]
    offered = [
        offer
        for found in machines.listed(clients, zone)
        for machine in variants(found, there)
        if (offer := priced(machine, zone, prices))
    ]
    return offered, rates(clients, skus, place), f"Google's price catalog, asked just now, for {place}"


def catalog(clients: Clients, service: str) -> Iterator[Json]:
    """Every article of a service."""
    of = clients.cloudbilling.services().skus()
    request = of.list(parent=service, currencyCode="USD", pageSize=5000, fields=FIELDS)
    for page in clients.pages(of, request, "reading Google's price catalog"):
        yield from page.get("skus", [])


def parts(skus: Iterable[Json]) -> Prices:
    """Dollars per hour of a family's `Core` or GB (`Ram`), or of a `GPU` as the catalog calls it; spot or not."""
    prices: Prices = {}
    for sku in skus:
        match = PART.fullmatch(sku["description"]) or GPU.fullmatch(sku["description"])
        if match is None or sku["category"]["usageType"] not in ("OnDemand", "Preemptible"):
            continue
        named = match.groupdict()
        what = (named["family"].lower(), named["part"]) if "part" in named else (named["gpu"], "GPU")
        # Of several for the same thing the dearest counts: the budget must hold.
        key = (*what, bool(named["spot"]))
        prices[key] = max(prices.get(key, 0.0), dollars(sku))
    return prices


def dollars(sku: Json) -> float:
    """The price of an article, beyond what of it is free."""
    tiers: Any = sku["pricingInfo"][0]["pricingExpression"]["tieredRates"]
    prices = [tier["unitPrice"] for tier in tiers]
    return float(max(int(price.get("units", 0)) + price.get("nanos", 0) / 1e9 for price in prices))


def variants(found: Json, attachable: list[str]) -> list[Machine]:
    """A type of the families that have prices by core, by itself and with each GPU that can be attached to it."""
    family = found["name"].split("-")[0]
    if family not in FAMILIES or found.get("isSharedCpu"):
        return []
    attached = attachable if family == "n1" and 2 <= found["guestCpus"] <= 16 else []
    return [machines.described(found, accelerator) for accelerator in ("", *attached)]


def priced(machine: Machine, zone: str, prices: Prices) -> Offer | None:
    """Add up a machine's parts; None if one has no price."""
    family = machine.name.split("-")[0]
    needed: list[tuple[tuple[str, str], float]]
    needed = [((family, "Core"), machine.cores), ((family, "Ram"), machine.memory_gb)]
    if machine.gpus:
        needed.append(((CALLED.get(machines.accelerator_of(machine), "?"), "GPU"), machine.gpus))

    def total(spot: bool) -> float | None:
        found = [prices.get((*what, spot)) for what, _ in needed]
        if any(price is None for price in found):
            return None
        return sum((price or 0.0) * count for price, (_, count) in zip(found, needed, strict=True))

    on_demand = total(spot=False)
    return Offer(machine, zone, on_demand, total(spot=True)) if on_demand else None


def rates(clients: Clients, skus: Iterable[Json], place: str) -> Rates:
    """What disks, addresses and storage cost.

    Raises:
        CloudFault: the catalog has no price for one of them.
    """
    stored = [sku for sku in catalog(clients, STORAGE) if place in sku.get("serviceRegions", ())]
    return Rates(
        disk_gb_month=_dearest(skus, r"Balanced PD Capacity( in .*)?"),
        address_hour=_dearest(skus, r"External IP Charge on a Standard VM( in .*)?"),
        storage_gb_month=_dearest(stored, rf"{STORED} \S.* Regional|{STORED} US Regional|{STORED} .*"),
    )


def _dearest(skus: Iterable[Json], pattern: str) -> float:
    found = [
        dollars(sku)
        for sku in skus
        if sku["category"]["usageType"] == "OnDemand" and re.fullmatch(pattern, sku["description"])
    ]
    if not found:
        raise CloudFault(f"Google's price catalog has no article like {pattern!r}")
    return max(found)
