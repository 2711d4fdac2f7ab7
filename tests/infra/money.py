"""Offers, shapes, runs and inventories for the tests of everything that counts dollars."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from infra.cluster import Inventory, Machine, Node, Offer, Rates, Run, Shape

START = datetime(2026, 11, 26, 17, 0, tzinfo=UTC)
RATES = Rates(disk_gb_month=0.08, address_hour=0.005, storage_gb_month=0.023)
HEAD = Offer(Machine("m6a.large", 2, 8), "us-east-1", 0.0864, 0.035)
WORKER = Offer(Machine("g4dn.xlarge", 4, 16, "T4", 1, 16), "us-east-1", 0.526, 0.2209)
MARGIN = timedelta(minutes=10)


def shape(**changes: object) -> Shape:
    known: dict[str, object] = {
        **{"head": HEAD, "worker": WORKER, "workers": 2, "spot": True},
        **{"head_disk_gb": 60, "worker_disk_gb": 60, "storage_gb": 0.1},
    }
    return Shape(**{**known, **changes})  # type: ignore[arg-type]


def run(name: str = "run-1", hours: float = 4.0, of: Shape | None = None, start: datetime = START) -> Run:
    deadline = start + timedelta(hours=hours)
    return Run(name, "main", "fifty", "aws", "us-east-1", of or shape(), start, deadline, "me")


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def node(name: str, launched: datetime, price: float | None, ended: datetime | None = None, **changes: object) -> Node:
    known: dict[str, object] = {
        **{"id": name, "cluster": "main", "run": "run-1", "role": "worker", "machine": "g4dn.xlarge"},
        **{"region": "us-east-1", "spot": True, "launched": launched, "deadline": None, "price": price},
        **{"ended": ended, "state": "running" if ended is None else "terminated"},
    }
    return Node(**{**known, **changes})  # type: ignore[arg-type]


def inventory(when: datetime, nodes: Iterable[Node] = (), memory: float = 60, **changes: object) -> Inventory:
    """What a cloud tells that remembers machines which have ended for so many minutes."""
    return Inventory(when, tuple(nodes), memory=timedelta(minutes=memory), **changes)  # type: ignore[arg-type]
