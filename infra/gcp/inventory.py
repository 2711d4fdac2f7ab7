"""All that is ours, asked of Google Cloud itself: one call tells of all zones."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from infra.cluster import CLUSTER, DEADLINE, OWNER, PRICE, PROJECT, ROLE, RUN, Inventory, Leftover, Node, Role, State
from infra.gcp import accounts, names, network
from infra.gcp.clients import Clients, Json
from infra.runs import place_of

STATES: dict[str, State] = {
    "PROVISIONING": "pending",
    "STAGING": "pending",
    "RUNNING": "running",
    "REPAIRING": "running",
    "PENDING": "pending",
    "PENDING_STOP": "ending",
    "STOPPING": "ending",
    "DEPROVISIONING": "ending",
    "SUSPENDING": "ending",
    # Off, and its disk is there and billed: a machine that has ended for good is told of no more.
    "TERMINATED": "stopped",
    "SUSPENDED": "stopped",
}
Tags = dict[str, str]


def take(clients: Clients, project: str, zone: str, *, everywhere: bool) -> Inventory:
    """Ask for everything that bears the project's tag.

    Args:
        zone: where to look, unless `everywhere`.
    """
    at = now()
    unreachable: dict[str, str] = {}
    nodes = [_node(item) for item in _labelled(clients, "instances", project, unreachable)]
    left = [
        *_disks(clients, project, unreachable),
        *_addresses(clients, project, unreachable),
        *_networks(clients, project, unreachable),
        *_accounts(clients, project),
    ]
    if not everywhere:
        near = (zone, names.region(zone), "global")
        nodes = [node for node in nodes if node.region == zone]
        left = [thing for thing in left if thing.region in near]
        unreachable = {place: why for place, why in unreachable.items() if place in near}
    # Google tells of no machine that has ended.
    return Inventory(at, tuple(nodes), tuple(left), unreachable, timedelta(0))


def now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def _labelled(clients: Clients, kind: str, project: str, unreachable: dict[str, str]) -> Iterator[Json]:
    yield from _everywhere(clients, kind, unreachable, filter=f"labels.{PROJECT} = {project}")


def _everywhere(clients: Clients, kind: str, unreachable: dict[str, str], **how: Any) -> Iterator[Json]:
    """All of a kind in all zones or regions; notes which of them did not answer."""
    of: Any = getattr(clients.compute, kind)()
    request = of.aggregatedList(project=clients.project, **how)
    for page in clients.pages(of, request, f"listing {kind}", "aggregatedList_next"):
        for place, found in page.get("items", {}).items():
            if found.get("warning", {}).get("code") == "UNREACHABLE":
                unreachable[place.rsplit("/")[-1]] = found["warning"].get("message", "it does not answer")
            yield from found.get(kind, [])
        for place in page.get("unreachables", []):
            unreachable[place.rsplit("/")[-1]] = "it does not answer"


def _node(item: Json) -> Node:
    tags: Tags = item.get("labels", {})
    plan = item.get("scheduling", {})
    role, price = tags.get(ROLE, tags.get("ray-node-type")), tags.get(PRICE, "")
    known: Role | None = next((known for known in get_args(Role) if known == role), None)
    return Node(
        id=item["name"],
        cluster=tags.get(CLUSTER, ""),
        run=tags.get(RUN, ""),
        role=known,
        state=STATES.get(item["status"], "running"),
        machine=_machine(item),
        region=_last(item["zone"]),
        spot=plan.get("provisioningModel") == "SPOT" or bool(plan.get("preemptible")),
        launched=datetime.fromisoformat(item["creationTimestamp"]).astimezone(UTC),
        deadline=names.moment(tags.get(DEADLINE)),
        price=int(price) / 1e6 if price.isdecimal() else None,
        address=_address(item),
        owner=tags.get(OWNER, ""),
    )


def _machine(item: Json) -> str:
    """Its type, and the GPU that is attached to it, as `infra.gcp.machines` names it."""
    kind = _last(item["machineType"])
    attached = [_last(one["acceleratorType"]) for one in item.get("guestAccelerators", [])]
    return f"{kind}+{attached[0]}" if attached and kind.startswith("n1-") else kind


def _address(item: Json) -> str:
    for interface in item.get("networkInterfaces", []):
        outside = [access["natIP"] for access in interface.get("accessConfigs", []) if access.get("natIP")]
        return str(outside[0] if outside else interface.get("networkIP", ""))
    return ""


def _disks(clients: Clients, project: str, unreachable: dict[str, str]) -> Iterator[Leftover]:
    """Disks that hang on no machine; the others go with theirs."""
    for item in _labelled(clients, "disks", project, unreachable):
        if not item.get("users"):
            yield _leftover("disk", _partial(item), _last(item["zone"]), item.get("labels", {}))


def _addresses(clients: Clients, project: str, unreachable: dict[str, str]) -> Iterator[Leftover]:
    for item in _labelled(clients, "addresses", project, unreachable):
        yield _leftover("address", _partial(item), _last(item.get("region", "global")), item.get("labels", {}))


def _networks(clients: Clients, project: str, unreachable: dict[str, str]) -> Iterator[Leftover]:
    """Rules, subnetworks and networks, in the order in which they can go."""
    for kind in network.KINDS:
        if kind == "subnetworks":
            found = list(_everywhere(clients, kind, unreachable))
        else:
            of: Any = getattr(clients.compute, kind)()
            pages = clients.pages(of, of.list(project=clients.project), f"listing {kind}")
            found = [item for page in pages for item in page.get("items", [])]
        for item in found:
            tags = names.tags_in(item.get("description"))
            if tags.get(PROJECT) == project:
                yield _placed(_leftover("group", _partial(item), "global", tags))


def _accounts(clients: Clients, project: str) -> Iterator[Leftover]:
    for email, tags in accounts.found(clients):
        if tags.get(PROJECT) == project:
            yield _placed(_leftover("account", email, "global", tags))


def _placed(thing: Leftover) -> Leftover:
    """What is of no zone itself belongs to that of its run."""
    place = place_of(thing.run)
    return replace(thing, region=place.region) if place else thing


def _leftover(kind: Any, id_: str, place: str, tags: Tags) -> Leftover:
    return Leftover(kind, id_, tags.get(CLUSTER, ""), place, names.moment(tags.get(DEADLINE)), tags.get(RUN, ""))


def _partial(item: Json) -> str:
    """A thing's address without what is the same for all of them."""
    link: str = item["selfLink"]
    return link[link.index("projects/") :]


def _last(link: str) -> str:
    return link.rsplit("/")[-1]
