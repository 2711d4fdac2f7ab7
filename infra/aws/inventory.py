"""All that is ours, asked of AWS itself: in one region, or in every one that the account has switched on.

The services are asked at the same time, for a person waits: one call after another takes seconds.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.aws.clients import Clients
from infra.aws.errors import asking
from infra.aws.listing import GLOBAL, REGIONAL, Found, roles
from infra.cluster import Inventory, Leftover, Node
from infra.faults import CloudFault

# AWS tells of a terminated machine for about an hour; ten minutes less is certain.
MEMORY = timedelta(minutes=50)
THREADS = 24


def take(clients: Clients, project: str, *, everywhere: bool = False) -> Inventory:
    """Ask for everything that bears the project's tag.

    Raises:
        CloudFault: AWS cannot be asked. With `everywhere`, a region that does not answer is named in the inventory.
    """
    at = datetime.now(UTC)
    regions = _regions(clients) if everywhere else [clients.region]
    asks: dict[tuple[str, str], Callable[[], Any]] = {(GLOBAL, "roles"): lambda: roles(clients, project)}
    for region in regions:
        for what, ask in REGIONAL.items():
            asks[region, what] = lambda ask=ask, region=region: ask(clients, project, region)  # type: ignore[misc]
    nodes: list[Node] = []
    leftovers: list[Leftover] = []
    deadlines: dict[tuple[str, str], datetime] = {}
    unreachable: dict[str, str] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for (region, _), future in [(key, pool.submit(ask)) for key, ask in asks.items()]:
            try:
                found: Found = future.result()
            except CloudFault as fault:
                if not everywhere:
                    raise
                unreachable.setdefault(region, str(fault))
                continue
            nodes += found[0]
            leftovers += found[1]
            deadlines |= {(region, cluster): deadline for cluster, deadline in found[2].items()}
    return Inventory(at, tuple(_moved(nodes, deadlines)), tuple(leftovers), unreachable, MEMORY)


def _regions(clients: Clients) -> list[str]:
    """The regions that the account has switched on, the configured one first."""
    with asking("listing the regions"):
        found = [region["RegionName"] for region in clients.ec2().describe_regions()["Regions"]]
    return sorted(found, key=lambda region: (region != clients.region, region))


def _moved(nodes: Iterable[Node], deadlines: dict[tuple[str, str], datetime]) -> list[Node]:
    """A worker launched after `fifty extend` still bears the old deadline as a tag; what it obeys is the parameter."""

    def later(node: Node) -> Node:
        moved = deadlines.get((node.region, node.cluster))
        return replace(node, deadline=max(node.deadline, moved)) if moved and node.deadline else node

    return [later(node) for node in nodes]
