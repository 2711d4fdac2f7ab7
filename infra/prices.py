"""The dated table of prices, `prices.csv` and `rates.csv`: what a plan is made from where the cloud cannot be asked.

To add a region: its rows in both files.
"""

import csv
import difflib
import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

from infra.cluster import Machine, Offer, Rates
from infra.faults import Refused

FOLDER = Path(__file__).parent
ZONE = re.compile(r"^([a-z]+-[a-z]+\d+)-[a-z]$")  # Google's: a region and a letter


def offers(cloud: str, region: str) -> tuple[list[Offer], Rates, str]:
    """Return a region's offers and rates, and in words where they come from; as `Provider.offers` does live.

    Args:
        region: or a zone, as `us-central1-a`; the offers bear it as it was given.

    Raises:
        Refused: the table has no such region.
    """
    prices, rates, dated = _table()
    wanted = region_of(region)
    if (cloud, wanted) not in rates:
        known = regions(cloud)
        near = difflib.get_close_matches(wanted, known, n=1)
        hint = f"; is {near[0]} meant?" if near else ""
        raise Refused(f"the price table has no region {region!r} of {cloud}, but {', '.join(known) or 'none'}{hint}")
    rows = [Offer(machine, region, price, spot) for machine, price, spot in prices[cloud, wanted]]
    return rows, rates[cloud, wanted], f"list prices as remembered on {dated:%Y-%m-%d}; check against the cloud"


def regions(cloud: str) -> list[str]:
    """Return the regions of a cloud that are in the table."""
    return [region for one, region in _table()[1] if one == cloud]


def region_of(zone: str) -> str:
    """Return the region of a zone of Google's; any other name is a region already."""
    found = ZONE.match(zone)
    return found[1] if found else zone


def machine(cloud: str, region: str, name: str) -> Machine:
    """Look up a kind of machine in the table.

    Raises:
        Refused: there is none of that name in the region; names some that there are.
    """
    return find(offers(cloud, region)[0], name).machine


def find(offers: list[Offer], name: str) -> Offer:
    """Return the offer of the machine of that name.

    Raises:
        Refused: there is none; names those that are spelled most like it.
    """
    by_name = {offer.machine.name: offer for offer in offers}
    if name in by_name:
        return by_name[name]
    where = f" in {offers[0].region}" if offers else ""
    near = difflib.get_close_matches(name, by_name, n=3, cutoff=0.4) or sorted(by_name)[:3]
    raise Refused(f"there is no machine {name!r}{where}; there are, for one, {', '.join(near) or 'none'}")


Prices = dict[tuple[str, str], list[tuple[Machine, float, float | None]]]


@cache
def _table() -> tuple[Prices, dict[tuple[str, str], Rates], date]:
    prices: Prices = {}
    for row in _rows("prices.csv"):
        gpu = (row["gpu"], int(row["gpus"]), float(row["gpu_memory_gb"]))
        machine = Machine(row["machine"], int(row["cores"]), float(row["memory_gb"]), *gpu)
        spot = float(row["spot"]) if row["spot"] else None
        prices.setdefault((row["cloud"], row["region"]), []).append((machine, float(row["on_demand"]), spot))
    names = ("disk_gb_month", "address_hour", "storage_gb_month")
    rates = {(row["cloud"], row["region"]): Rates(*(float(row[name]) for name in names)) for row in _rows("rates.csv")}
    return prices, rates, min(_dated("prices.csv"), _dated("rates.csv"))


def _rows(name: str) -> Iterator[dict[str, str]]:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    yield from csv.DictReader(line for line in lines if not line.startswith("#"))


def _dated(name: str) -> date:
    found = re.search(r"^# date: (\S+)$", (FOLDER / name).read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{name} bears no date")
    return date.fromisoformat(found[1])
