"""A network of a run's own, closed but for SSH from one address.

The `default` network that Google gives a project lets the whole world in to port 22. A new one lets nobody in.
"""

from collections.abc import Sequence
from typing import Any

from infra.cluster import Run
from infra.gcp import names
from infra.gcp.clients import Clients, Json
from infra.gcp.errors import Conflict, absent_is_fine
from infra.provider import Step

RANGE = "10.77.0.0/20"  # 4,092 machines
KINDS = ("firewalls", "subnetworks", "networks")  # in the order in which they can be removed


def steps(clients: Clients, run: Run, zone: str) -> Sequence[Step]:
    """Network, subnetwork and two rules; the id of each is its partial URL."""
    name, region = names.base(run), names.region(zone)
    network = f"projects/{clients.project}/global/networks/{name}"
    whole: Json = {"name": name, "autoCreateSubnetworks": False, "routingConfig": {"routingMode": "REGIONAL"}}
    part: Json = {"name": name, "network": network, "ipCidrRange": RANGE}
    rule: Json = {"network": network, "direction": "INGRESS", "targetTags": [name]}
    inside: Json = {**rule, "name": f"{name}-inside", "sourceTags": [name], "allowed": [{"IPProtocol": "all"}]}
    ssh: Json = {
        **rule,
        "name": f"{name}-ssh",
        "sourceRanges": [run.ssh_from],
        "allowed": [{"IPProtocol": "tcp", "ports": ["22"]}],
    }
    return [
        Step("network", lambda: _ensure(clients, run, "networks", whole)),
        Step("subnetwork", lambda: _ensure(clients, run, "subnetworks", part, region=region)),
        Step("inside", lambda: _ensure(clients, run, "firewalls", inside)),
        Step("ssh", lambda: _ensure(clients, run, "firewalls", ssh)),
    ]


def _ensure(clients: Clients, run: Run, kind: str, body: Json, **place: str) -> str:
    """Create it, unless an earlier attempt of this run has."""
    request = getattr(clients.compute, kind)().insert(
        project=clients.project, body={**body, "description": names.described(run.tags())}, **place
    )
    try:
        clients.finish(request, f"making {_singular(kind)} {body['name']}")
    except Conflict:
        _as_wanted(clients, kind, body, place)
    where = f"regions/{place['region']}" if place else "global"
    return f"projects/{clients.project}/{where}/{kind}/{body['name']}"


def _as_wanted(clients: Clients, kind: str, body: Json, place: dict[str, str]) -> None:
    """A rule that is there may be open to another address than is wanted now."""
    if kind != "firewalls":
        return
    name = body["name"]
    there = clients.call(clients.compute.firewalls().get(project=clients.project, firewall=name), f"reading {name}")
    changed = {key: value for key, value in body.items() if key != "network" and there.get(key) != value}
    if changed:
        request = clients.compute.firewalls().patch(project=clients.project, firewall=name, body=changed)
        clients.finish(request, f"changing firewall rule {name}")


def remove(clients: Clients, id_: str) -> None:
    """Delete what `id_`, a partial URL, names; that it is gone is fine."""
    parts = id_.split("/")
    kind, name = parts[-2], parts[-1]
    place = {"region": parts[-3]} if parts[-4] == "regions" else {}
    of: Any = getattr(clients.compute, kind)()
    request = of.delete(project=clients.project, **{_singular(kind): name}, **place)
    absent_is_fine(lambda: clients.finish(request, f"removing {_singular(kind)} {name}"))


def _singular(kind: str) -> str:
    return "address" if kind == "addresses" else kind.removesuffix("s")
