"""Live prices: on demand from the Pricing API, spot from the last prices of every zone.

What AWS answers is a lump of JSON per product, with more terms than documentation; what cannot be read is left out.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from infra.aws.clients import Clients
from infra.aws.errors import asking
from infra.aws.machines import known
from infra.cluster import Offer, Rates
from infra.faults import CloudFault, Refused

FAMILIES = ("GPU instance", "General purpose", "Compute optimized")
LINUX = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "capacitystatus": "Used",
    "preInstalledSw": "NA",
    "marketoption": "OnDemand",
}
# No spot price has ever been lower a share of the price on demand; what is (as in pretended clouds) is no price.
LEAST_SPOT_SHARE = 0.05
# Where not even the table knows: more than AWS asks in any region.
DEAREST = Rates(disk_gb_month=0.16, address_hour=0.005, storage_gb_month=0.041)
SPOT_BATCH = 100


def live(clients: Clients) -> tuple[list[Offer], Rates, str]:
    """Return the offers and rates of the region, and in words where they come from.

    Raises:
        CloudFault: the API does not answer, or not with prices.
    """
    with ThreadPoolExecutor(len(FAMILIES) + 1) as pool:
        families = [pool.submit(_on_demand, clients, family) for family in FAMILIES]
        rated = pool.submit(_rates, clients)
        prices: dict[str, float] = {}
        for family in families:
            prices |= family.result()
        rates, whence = rated.result()
    machines = known(clients, prices)
    if not machines:
        raise CloudFault(f"AWS's Pricing API tells no price of any machine in {clients.region}")
    spot = _spot(clients, [machine.name for machine in machines])
    offers = [
        Offer(machine, clients.region, prices[machine.name], _believable(spot.get(machine.name), prices[machine.name]))
        for machine in machines
    ]
    offers.sort(key=lambda offer: (offer.on_demand, offer.machine.name))
    asked = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return offers, rates, f"live prices of AWS, asked at {asked}{whence}"


def _believable(spot: float | None, on_demand: float) -> float | None:
    return spot if spot is not None and spot >= LEAST_SPOT_SHARE * on_demand else None


def _on_demand(clients: Clients, family: str) -> dict[str, float]:
    """Dollars per hour of each type of a family."""
    wanted = {**LINUX, "instanceFamily": family, "regionCode": clients.region}
    prices: dict[str, float] = {}
    for product in _products(clients, "AmazonEC2", wanted):
        name, price = _attributes(product).get("instanceType", ""), dearest(product, "hrs")
        if name and price:
            prices[name] = max(price, prices.get(name, 0.0))
    return prices


def _rates(clients: Clients) -> tuple[Rates, str]:
    """What disks, addresses and storage cost; what AWS does not tell is taken from the table, and that is said."""
    asked = (
        ("disks", "AmazonEC2", {"volumeApiName": "gp3", "productFamily": "Storage"}, "gb-mo"),
        ("addresses", "AmazonVPC", {"group": "VPCPublicIPv4Address"}, "hrs"),
        ("storage", "AmazonS3", {"volumeType": "Standard", "storageClass": "General Purpose"}, "gb-mo"),
    )
    listed = _listed(clients.region)
    values: list[float] = []
    missing: list[str] = []
    for (what, service, filters, unit), default in zip(
        asked, (listed.disk_gb_month, listed.address_hour, listed.storage_gb_month), strict=True
    ):
        found = [
            price
            for product in _products(clients, service, {**filters, "regionCode": clients.region})
            if (price := dearest(product, unit))
        ]
        values.append(max(found, default=default))
        missing += [] if found else [what]
    whence = f"; the rates of {', '.join(missing)} are the table's" if missing else ""
    return Rates(*values), whence


def _listed(region: str) -> Rates:
    from infra import prices

    try:
        return prices.offers("aws", region)[1]
    except Refused:
        return DEAREST


def _products(clients: Clients, service: str, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The products of a service that have these attributes; lumps that are no JSON are passed over."""
    terms: Any = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()]
    with asking(f"asking for the prices of {service}"):
        pages = clients.pricing().get_paginator("get_products").paginate(ServiceCode=service, Filters=terms)
        for page in pages:
            for text in page.get("PriceList", []):
                try:
                    product = json.loads(text)
                except ValueError:
                    continue
                if isinstance(product, dict):
                    yield product


def _attributes(product: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = product.get("product")
    attributes = inner.get("attributes") if isinstance(inner, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def dearest(product: Mapping[str, Any], unit: str) -> float | None:
    """The highest price in dollars that a product has on demand per `unit`; tiers and years fall with use."""
    found: list[float] = []
    for dimension in _dimensions(product):
        if str(dimension.get("unit", "")).lower() != unit:
            continue
        try:
            price = float(dimension["pricePerUnit"]["USD"])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(price) and price > 0:
            found.append(price)
    return max(found, default=None)


def _dimensions(product: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    terms = product.get("terms")
    on_demand = terms.get("OnDemand") if isinstance(terms, dict) else None
    for term in on_demand.values() if isinstance(on_demand, dict) else ():
        dimensions = term.get("priceDimensions") if isinstance(term, dict) else None
        for dimension in dimensions.values() if isinstance(dimensions, dict) else ():
            if isinstance(dimension, dict):
                yield dimension


def _spot(clients: Clients, names: list[str]) -> dict[str, float]:
    """The price of each type now, in the zone where it is dearest, for nobody knows where a machine will come up."""
    latest: dict[tuple[str, str], tuple[datetime, float]] = {}
    for batch in (names[start : start + SPOT_BATCH] for start in range(0, len(names), SPOT_BATCH)):
        for entry in _history(clients, batch):
            try:
                key, at, price = (
                    (entry["InstanceType"], entry["AvailabilityZone"]),
                    entry["Timestamp"],
                    entry["SpotPrice"],
                )
                if key not in latest or at > latest[key][0]:
                    latest[key] = (at, float(price))
            except (KeyError, TypeError, ValueError):
                continue
    dear: dict[str, float] = {}
    for (name, _), (_, price) in latest.items():
        dear[name] = max(price, dear.get(name, 0.0))
    return dear


def _history(clients: Clients, names: list[str]) -> Iterable[Any]:
    wanted: Any = names
    with asking("asking for the spot prices"):
        pages = (
            clients.ec2()
            .get_paginator("describe_spot_price_history")
            .paginate(InstanceTypes=wanted, ProductDescriptions=["Linux/UNIX"], StartTime=datetime.now(UTC))
        )
        return [entry for page in pages for entry in page["SpotPriceHistory"]]
