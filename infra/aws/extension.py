"""A later deadline: the schedule, every tag, and the parameter that the nodes go by.

The parameter is last: until it is written nothing has happened but that some tags promise too much, and `fifty extend`
can be repeated.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from infra.aws import deadline as outside
from infra.aws import listing, names
from infra.aws.clients import Clients
from infra.aws.errors import asking
from infra.aws.names import tag_list
from infra.cluster import CLUSTER, DEADLINE, PROJECT, Run
from infra.faults import NotThere

# What one request may tag.
BATCH = 500


def move(clients: Clients, run: Run, deadline: datetime) -> None:
    """Move the deadline of everything that belongs to the run's cluster."""
    tags = tag_list({DEADLINE: str(int(deadline.timestamp()))})
    outside.reschedule(clients, run, deadline)
    resources = list(_resources(clients, run))
    for start in range(0, len(resources), BATCH):
        with asking("moving the deadline on the machines"):
            clients.ec2().create_tags(Resources=resources[start : start + BATCH], Tags=tags)
    _tag_roles(clients, run, tags)
    outside.write(clients, run, deadline)


def _resources(clients: Clients, run: Run) -> Iterator[str]:
    """The ids of machines, disks, groups and keys that bear the cluster's tags and are still there."""
    ec2 = clients.ec2()
    filters: Any = [
        {"Name": f"tag:{PROJECT}", "Values": [run.project]},
        {"Name": f"tag:{CLUSTER}", "Values": [run.cluster]},
    ]
    with asking("listing what belongs to the cluster"):
        for page in ec2.get_paginator("describe_instances").paginate(Filters=filters):
            for reservation in page["Reservations"]:
                for instance in reservation["Instances"]:
                    if listing.STATES.get(instance["State"]["Name"]) in ("pending", "running", "stopped"):
                        yield instance["InstanceId"]
        for disks in ec2.get_paginator("describe_volumes").paginate(Filters=filters):
            yield from (disk["VolumeId"] for disk in disks["Volumes"])
        for groups in ec2.get_paginator("describe_security_groups").paginate(Filters=filters):
            yield from (group["GroupId"] for group in groups["SecurityGroups"])
        yield from (pair["KeyPairId"] for pair in ec2.describe_key_pairs(Filters=filters)["KeyPairs"])


def _tag_roles(clients: Clients, run: Run, tags: list[Any]) -> None:
    iam = clients.iam()
    for part in ("head", "worker", "schedule"):
        name = names.role(run.project, run.cluster, part)
        try:
            with asking(f"moving the deadline on the role {name}"):
                iam.tag_role(RoleName=name, Tags=tags)
            with asking(f"moving the deadline on the profile {name}"):
                iam.tag_instance_profile(InstanceProfileName=name, Tags=tags)
        except NotThere:
            continue
