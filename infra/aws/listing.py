"""One function per kind of thing that may be ours: asks one service of one region for what bears the project's tag."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

from infra.aws import names
from infra.aws.clients import Clients
from infra.aws.errors import asking
from infra.aws.names import moment, tag_dict
from infra.cluster import CLUSTER, DEADLINE, OWNER, PRICE, PROJECT, ROLE, RUN, Leftover, Node, Role, State
from infra.faults import NotThere

STATES: dict[str, State] = {
    "pending": "pending",
    "running": "running",
    "shutting-down": "ending",
    "terminated": "terminated",
    "stopping": "stopped",
    "stopped": "stopped",
}
ENDED = re.compile(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)")
# Disks that hang on no machine; all others are deleted together with theirs.
LOOSE = ("available", "error")
# What belongs to the account and to no region.
GLOBAL = "global"
# Machines per answer; AWS takes no more.
PAGE = 1000

# Machines, what else there is, and the deadline of each cluster by the parameter that its nodes read.
Found = tuple[list[Node], list[Leftover], dict[str, datetime]]


def _filters(project: str) -> Any:
    return [{"Name": f"tag:{PROJECT}", "Values": [project]}]


def instances(clients: Clients, project: str, region: str) -> Found:
    """Machines in every state."""
    with asking(f"listing the machines in {region}"):
        pages = (
            clients.ec2(region)
            .get_paginator("describe_instances")
            .paginate(Filters=_filters(project), PaginationConfig={"PageSize": PAGE})
        )
        found = [node_of(i, region) for page in pages for r in page["Reservations"] for i in r["Instances"]]
    return found, [], {}


def node_of(instance: Any, region: str) -> Node:
    """A machine as DescribeInstances tells of it."""
    tags = tag_dict(instance.get("Tags"))
    state = STATES.get(instance["State"]["Name"], "running")
    ended = ENDED.search(instance.get("StateTransitionReason") or "") if state in ("ending", "terminated") else None
    price, role = tags.get(PRICE, ""), tags.get(ROLE)
    known: Role | None = next((known for known in get_args(Role) if known == role), None)
    return Node(
        id=instance["InstanceId"],
        cluster=tags.get(CLUSTER, ""),
        run=tags.get(RUN, ""),
        role=known,
        state=state,
        machine=instance["InstanceType"],
        region=region,
        spot=instance.get("InstanceLifecycle") == "spot",
        launched=instance["LaunchTime"].astimezone(UTC),
        deadline=moment(tags.get(DEADLINE)),
        price=int(price) / 1e6 if price.isdecimal() else None,
        ended=datetime.strptime(ended[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if ended else None,
        address=instance.get("PublicIpAddress") or instance.get("PrivateIpAddress") or "",
        owner=tags.get(OWNER, ""),
    )


def leftover(kind: Any, name: str, region: str, tags: dict[str, str]) -> Leftover:
    """Something that bears our tags and is no machine."""
    return Leftover(kind, name, tags.get(CLUSTER, ""), region, moment(tags.get(DEADLINE)), tags.get(RUN, ""))


def disks(clients: Clients, project: str, region: str) -> Found:
    """Disks that hang on no machine."""
    with asking(f"listing the disks in {region}"):
        loose = [*_filters(project), {"Name": "status", "Values": list(LOOSE)}]
        pages = clients.ec2(region).get_paginator("describe_volumes").paginate(Filters=loose)
        found: list[Any] = [disk for page in pages for disk in page["Volumes"]]
    return [], [leftover("disk", disk["VolumeId"], region, tag_dict(disk.get("Tags"))) for disk in found], {}


def addresses(clients: Clients, project: str, region: str) -> Found:
    """Addresses that are kept, of which `fifty` makes none."""
    with asking(f"listing the addresses in {region}"):
        found: list[Any] = list(clients.ec2(region).describe_addresses(Filters=_filters(project))["Addresses"])
    return [], [leftover("address", one["AllocationId"], region, tag_dict(one.get("Tags"))) for one in found], {}


def groups(clients: Clients, project: str, region: str) -> Found:
    """Security groups."""
    with asking(f"listing the security groups in {region}"):
        pages = clients.ec2(region).get_paginator("describe_security_groups").paginate(Filters=_filters(project))
        found: list[Any] = [group for page in pages for group in page["SecurityGroups"]]
    return [], [leftover("group", group["GroupId"], region, tag_dict(group.get("Tags"))) for group in found], {}


def keys(clients: Clients, project: str, region: str) -> Found:
    """Key pairs."""
    with asking(f"listing the key pairs in {region}"):
        found: list[Any] = list(clients.ec2(region).describe_key_pairs(Filters=_filters(project))["KeyPairs"])
    return [], [leftover("key", pair["KeyName"], region, tag_dict(pair.get("Tags"))) for pair in found], {}


def parameters(clients: Clients, project: str, region: str) -> Found:
    """The deadlines that nodes read; by their path, for that is what the nodes go by."""
    path, ssm = f"/fifty/{project}/", clients.ssm(region)
    deadlines: dict[str, datetime] = {}
    left: list[Leftover] = []
    with asking(f"reading the deadlines in {region}"):
        for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True):
            for found in page["Parameters"]:
                cluster = found["Name"].removeprefix(path).split("/")[0]
                try:
                    answer = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=found["Name"])
                    tags = tag_dict(answer["TagList"])
                except ssm.exceptions.InvalidResourceId:  # removed since
                    tags = {}
                deadline = moment(found["Value"])
                if deadline:
                    deadlines[cluster] = deadline
                left.append(Leftover("parameter", found["Name"], cluster, region, deadline, tags.get(RUN, "")))
    return [], left, deadlines


def schedules(clients: Clients, project: str, region: str) -> Found:
    """Schedules bear no tags; their groups do. Not every region has the service."""
    if region != clients.region and not clients.has("scheduler", region):
        return [], [], {}
    scheduler, prefix = clients.scheduler(region), f"{project}-"
    left: list[Leftover] = []
    with asking(f"listing the schedules in {region}"):
        for page in scheduler.get_paginator("list_schedule_groups").paginate(NamePrefix=prefix):
            for group in page["ScheduleGroups"]:
                if not group["Name"].startswith(prefix) or group.get("State") == "DELETING":
                    continue
                tags = tag_dict(scheduler.list_tags_for_resource(ResourceArn=group["Arn"]).get("Tags"))
                if tags.get(PROJECT) == project:
                    left.append(leftover("schedule", group["Name"], region, tags))
    return [], left, {}


def roles(clients: Clients, project: str) -> Found:
    """Roles and instance profiles in our folder; one of a pair may be missing where something was killed in between."""
    iam, path = clients.iam(), names.IAM_PATH.format(project=project)
    tags: dict[str, dict[str, str]] = {}
    with asking("listing the roles"):
        for pages, key, name in (
            (iam.get_paginator("list_roles").paginate(PathPrefix=path), "Roles", "RoleName"),
            (
                iam.get_paginator("list_instance_profiles").paginate(PathPrefix=path),
                "InstanceProfiles",
                "InstanceProfileName",
            ),
        ):
            found: list[Any] = [one for page in pages for one in page[key]]  # type: ignore[literal-required]
            # What is listed may be removed: that it is ours does not rest on the filter, which moto passes over.
            for one in found:
                if one["Path"].startswith(path):
                    tags.setdefault(one[name], {})
    for name in tags:
        for ask in (
            lambda name=name: iam.get_role(RoleName=name)["Role"],
            lambda name=name: iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"],
        ):
            try:
                with asking(f"looking up the role {name}"):
                    tags[name] |= tag_dict(ask().get("Tags"))
            except NotThere:
                continue
    return [], [leftover("profile", name, GLOBAL, found) for name, found in tags.items()], {}


REGIONAL: dict[str, Callable[[Clients, str, str], Found]] = {
    "machines": instances,
    "disks": disks,
    "addresses": addresses,
    "groups": groups,
    "keys": keys,
    "deadlines": parameters,
    "schedules": schedules,
}
