"""Ending machines and deleting what hangs on them. Everything here succeeds when what it is about is not there."""

from collections import defaultdict
from collections.abc import Iterable

from infra.aws import iam
from infra.aws.clients import Clients
from infra.aws.errors import absent_is_fine, asking
from infra.cluster import Leftover, Node
from infra.faults import CloudFault

# What one request may name without AWS throttling it.
BATCH = 100


def terminate(clients: Clients, nodes: Iterable[Node]) -> None:
    """Ask AWS to end machines for good.

    Raises:
        CloudFault: some could not be ended; all the others were.
    """
    by_region: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if node.state != "terminated":
            by_region[node.region].append(node.id)
    faults: list[CloudFault] = []
    for region, ids in by_region.items():
        for start in range(0, len(ids), BATCH):
            faults += _terminate(clients, region, ids[start : start + BATCH])
    if faults:
        raise faults[0] if len(faults) == 1 else CloudFault("; ".join(str(fault) for fault in faults))


def _terminate(clients: Clients, region: str, ids: list[str]) -> list[CloudFault]:
    """One request for all; AWS ends none if it does not know one of them, so then one by one."""
    ec2 = clients.ec2(region)
    doing = f"ending {', '.join(ids)}"
    try:
        if len(ids) == 1:
            absent_is_fine(doing, lambda: ec2.terminate_instances(InstanceIds=ids))
        else:
            with asking(doing):
                ec2.terminate_instances(InstanceIds=ids)
    except CloudFault as fault:
        if len(ids) == 1:
            return [fault]
        return [one for node in ids for one in _terminate(clients, region, [node])]
    return []


def remove(clients: Clients, leftover: Leftover) -> None:
    """Delete what is no machine.

    Raises:
        CloudFault: it cannot be deleted yet, as a group that still has a machine in it.
    """
    name, doing = leftover.id, f"removing the {leftover.kind} {leftover.id}"
    if leftover.kind == "profile":
        iam.remove(clients, name)
        return
    ec2 = clients.ec2(leftover.region)
    if leftover.kind == "disk":
        absent_is_fine(doing, lambda: ec2.delete_volume(VolumeId=name))
    elif leftover.kind == "address":
        absent_is_fine(doing, lambda: ec2.release_address(AllocationId=name))
    elif leftover.kind == "group":
        absent_is_fine(doing, lambda: ec2.delete_security_group(GroupId=name))
    elif leftover.kind == "key":
        absent_is_fine(doing, lambda: ec2.delete_key_pair(KeyName=name))
    elif leftover.kind == "parameter":
        absent_is_fine(doing, lambda: clients.ssm(leftover.region).delete_parameter(Name=name))
    elif leftover.kind == "schedule":
        absent_is_fine(doing, lambda: clients.scheduler(leftover.region).delete_schedule_group(Name=name))
    else:
        raise CloudFault(f"{doing}: AWS has no such thing")
