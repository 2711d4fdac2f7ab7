"""The deadline outside the nodes: the parameter that they read, and by choice a schedule that terminates the head.

The schedule is EventBridge's: it needs neither this machine nor the head to be alive. It takes the ids of machines, so
it can name the head only.
"""

import json
from datetime import UTC, datetime
from typing import Any

from infra.aws import names
from infra.aws.clients import Clients
from infra.aws.errors import ALREADY, asking, code_of, once_known
from infra.aws.iam import partition
from infra.aws.names import tag_list
from infra.cluster import CLUSTER, DEADLINE, RUN, Node, Run
from infra.faults import CloudFault, NotThere

TERMINATE = "arn:{partition}:scheduler:::aws-sdk:ec2:terminateInstances"


def write(clients: Clients, run: Run, deadline: datetime) -> str:
    """Write the parameter that the nodes read, be it new or not; return its name."""
    name, ssm = names.parameter(run.project, run.cluster), clients.ssm()
    value = str(int(deadline.timestamp()))
    tags = tag_list({**run.tags(), DEADLINE: value})
    try:
        with asking(f"writing the deadline to {name}"):
            ssm.put_parameter(Name=name, Value=value, Type="String", Tags=tags, Description="seconds since 1970")
    except CloudFault as fault:
        if not ALREADY.search(code_of(fault)):
            raise
        with asking(f"writing the deadline to {name}"):
            ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
            ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=name, Tags=tags)
    return name


def schedule(clients: Clients, run: Run, head: Node, role: str, deadline: datetime) -> None:
    """Have the head terminated at the deadline, whoever is alive then."""
    group, scheduler = names.base(run.project, run.cluster), clients.scheduler()
    _ensure_group(clients, run, group)
    wanted: dict[str, Any] = {
        "GroupName": group,
        "Name": head.id,
        "ScheduleExpression": f"at({deadline.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Description": f"fifty: ends the head of run {run.id}",
        "Target": {
            "Arn": TERMINATE.format(partition=partition(run.region)),
            "RoleArn": role,
            "Input": json.dumps({"InstanceIds": [head.id]}),
        },
    }
    doing = f"scheduling the end of the head {head.id}"
    try:
        once_known(doing, lambda: scheduler.create_schedule(**wanted))
    except CloudFault as fault:
        if not ALREADY.search(code_of(fault)):
            raise
        with asking(doing):
            scheduler.update_schedule(**wanted)


def reschedule(clients: Clients, run: Run, deadline: datetime) -> None:
    """Move the schedule, if there is one."""
    group, scheduler = names.base(run.project, run.cluster), clients.scheduler()
    try:
        with asking("moving the schedule that ends the head"):
            pages = scheduler.get_paginator("list_schedules").paginate(GroupName=group)
            heads = [found["Name"] for page in pages for found in page["Schedules"]]
            for head in heads:
                old: Any = scheduler.get_schedule(GroupName=group, Name=head)
                kept = (
                    "GroupName",
                    "Name",
                    "ScheduleExpressionTimezone",
                    "FlexibleTimeWindow",
                    "Target",
                    "Description",
                )
                scheduler.update_schedule(
                    **{key: old[key] for key in kept if old.get(key) is not None},
                    ActionAfterCompletion="DELETE",
                    ScheduleExpression=f"at({deadline.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
                )
            if heads:
                scheduler.tag_resource(
                    ResourceArn=scheduler.get_schedule_group(Name=group)["Arn"],
                    Tags=tag_list({DEADLINE: str(int(deadline.timestamp()))}),
                )
    except NotThere:
        return


def _ensure_group(clients: Clients, run: Run, group: str) -> None:
    """Schedules bear no tags; the group that they are in does."""
    scheduler = clients.scheduler()
    try:
        with asking(f"creating the schedule group {group}"):
            scheduler.create_schedule_group(Name=group, Tags=tag_list(run.tags()))
    except CloudFault as fault:
        if not ALREADY.search(code_of(fault)):
            raise
        with asking(f"tagging the schedule group {group}"):
            scheduler.tag_resource(
                ResourceArn=scheduler.get_schedule_group(Name=group)["Arn"],
                Tags=tag_list({key: value for key, value in run.tags().items() if key in (CLUSTER, RUN, DEADLINE)}),
            )
