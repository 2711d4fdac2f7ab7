"""Ends what is ours. That it has ended already, or never was, is what was wanted."""

from collections.abc import Iterable

from infra.cluster import Leftover, Node
from infra.faults import NotThere
from infra.gcp import accounts, network
from infra.gcp.clients import Clients
from infra.gcp.errors import Unready


def terminate(clients: Clients, nodes: Iterable[Node]) -> None:
    """Ask Compute Engine to delete machines, several at a time; whether it has shows at the next look.

    Raises:
        CloudFault: some could not be asked to go; all others were.
    """
    instances = clients.compute.instances()
    requests = [
        instances.delete(project=clients.project, zone=node.region, instance=node.id)
        for node in nodes
        # Of one that is on its way nothing more can be asked until it has arrived.
        if node.state not in ("ending", "terminated")
    ]
    faults = [fault for fault in clients.each(requests, "ending machines") if not _on_its_way(fault)]
    if faults:
        raise faults[0]


def _on_its_way(fault: Exception) -> bool:
    return isinstance(fault, NotThere) or (isinstance(fault, Unready) and "not ready" in str(fault))


def remove(clients: Clients, leftover: Leftover) -> None:
    """Delete what is no machine."""
    if leftover.kind == "account":
        accounts.remove(clients, leftover.id)
    else:
        network.remove(clients, leftover.id)
