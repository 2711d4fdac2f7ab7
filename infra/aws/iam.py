"""Roles: what the head, the workers and the schedule may do, from infra/policies/*.json, and nothing beyond it."""

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from infra.aws import names
from infra.aws.clients import Clients
from infra.aws.errors import ALREADY, absent_is_fine, asking, code_of, once_known
from infra.aws.names import tag_dict, tag_list
from infra.cluster import CLUSTER, PROJECT, Run
from infra.faults import CloudFault, NotThere, Refused

POLICIES = Path(__file__).parents[1] / "policies"
# Who may take on a role: a machine, or EventBridge Scheduler.
TRUSTED = {"head": "ec2.amazonaws.com", "worker": "ec2.amazonaws.com", "schedule": "scheduler.amazonaws.com"}
SPOT_SERVICE = "spot.amazonaws.com"
INLINE = "fifty"
# AWS names no figure; Ray waits as long for the profile that it makes itself.
PROPAGATION_SECONDS = 15.0


@cache
def _policy_text(part: str) -> str:
    return (POLICIES / f"{part}.json").read_text()


def policy(part: str, values: Mapping[str, str]) -> dict[str, Any]:
    """A policy file with its `<placeholders>` filled in.

    Raises:
        KeyError: one has no value; a policy with a hole in it allows too little or too much.
    """
    text = _policy_text(part)
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    if "<" in text:
        raise KeyError(f"{part}.json: no value for {text[text.index('<') :].split('>')[0]}>")
    filled: dict[str, Any] = json.loads(text)
    return filled


def policy_values(run: Run, account: str) -> dict[str, str]:
    """What the placeholders of the policies stand for in a run."""
    return {
        "partition": partition(run.region),
        "region": run.region,
        "account": account,
        "project": run.project,
        "cluster": run.cluster,
        "worker-type": run.shape.worker.machine.name,
        "image": run.image,
    }


def partition(region: str) -> str:
    """The first part of every ARN."""
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"


def trust(part: str, account: str) -> dict[str, Any]:
    """Who may take on a role; the schedule's own only in the name of this account."""
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"Service": TRUSTED[part]},
        "Action": "sts:AssumeRole",
    }
    if part == "schedule":
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return {"Version": "2012-10-17", "Statement": [statement]}


def ensure_role(clients: Clients, run: Run, account: str, part: str) -> str:
    """Make a role, or find it, and give it its policy; return its ARN."""
    name, iam = names.role(run.project, run.cluster, part), clients.iam()
    tags = tag_list(run.tags())
    try:
        with asking(f"creating the role {name}"):
            role = iam.create_role(
                Path=names.IAM_PATH.format(project=run.project),
                RoleName=name,
                AssumeRolePolicyDocument=json.dumps(trust(part, account)),
                Description=f"fifty: {part} of cluster {run.cluster} of {run.project}",
                Tags=tags,
            )["Role"]
    except CloudFault as fault:
        if not ALREADY.search(code_of(fault)):
            raise
        with asking(f"looking up the role {name}"):
            role = iam.get_role(RoleName=name)["Role"]
        if {key: tag_dict(role.get("Tags")).get(key) for key in (PROJECT, CLUSTER)} != {
            PROJECT: run.project,
            CLUSTER: run.cluster,
        }:
            raise Refused(f"this account has a role `{name}` already that is not ours; set cloud.project") from fault
        with asking(f"tagging the role {name}"):
            iam.tag_role(RoleName=name, Tags=tags)
    document = json.dumps(policy(part, policy_values(run, account)))
    once_known(
        f"giving the role {name} its policy",
        lambda: iam.put_role_policy(RoleName=name, PolicyName=INLINE, PolicyDocument=document),
    )
    return role["Arn"]


def ensure_profile(clients: Clients, run: Run, account: str, part: str) -> str:
    """Make the role and the instance profile that gives it to a machine; return the profile's name."""
    ensure_role(clients, run, account, part)
    name, iam = names.role(run.project, run.cluster, part), clients.iam()
    steps = (
        lambda: iam.create_instance_profile(
            InstanceProfileName=name,
            Path=names.IAM_PATH.format(project=run.project),
            Tags=tag_list(run.tags()),
        ),
        # A profile holds one role: that it is full means that an earlier attempt has come so far.
        lambda: iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name),
    )
    for step in steps:
        try:
            once_known(f"making the instance profile {name}", step)
        except CloudFault as fault:
            if not (ALREADY.search(code_of(fault)) or code_of(fault) == "LimitExceeded"):
                raise
    return name


def ensure_spot(clients: Clients) -> str:
    """See that the account has Amazon's own role for spot, which the head has no right to make; it costs nothing."""
    try:
        with asking("making Amazon's role for spot machines"):
            clients.iam().create_service_linked_role(AWSServiceName=SPOT_SERVICE)
    except CloudFault as fault:
        # InvalidInput: it has been there all along.
        if code_of(fault) != "InvalidInput" and not ALREADY.search(code_of(fault)):
            raise
    return SPOT_SERVICE


def role_arn(run: Run, account: str, part: str) -> str:
    """The ARN of a role that `ensure_role` has made."""
    path = names.IAM_PATH.format(project=run.project)
    return f"arn:{partition(run.region)}:iam::{account}:role{path}{names.role(run.project, run.cluster, part)}"


def wait_until_known(clients: Clients, run: Run, pause: Callable[[float], None] = time.sleep) -> str:
    """Wait until a head launched with a new profile is not refused because EC2 has not heard of it yet."""
    name = names.role(run.project, run.cluster, "head")
    with asking(f"looking up the instance profile {name}"):
        made = clients.iam().get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["CreateDate"]
    left = PROPAGATION_SECONDS - (datetime.now(UTC) - made).total_seconds()
    if clients.is_amazon and left > 0:
        pause(min(left, PROPAGATION_SECONDS))
    return name


def remove(clients: Clients, name: str) -> None:
    """Delete a role with its policies, and the instance profile of its name, however far an earlier attempt came."""
    iam = clients.iam()
    doing = f"removing the role {name}"
    for role in _held(clients, name, doing):
        empty = partial(iam.remove_role_from_instance_profile, InstanceProfileName=name, RoleName=role)
        absent_is_fine(doing, empty)
    absent_is_fine(doing, lambda: iam.delete_instance_profile(InstanceProfileName=name))
    absent_is_fine(doing, lambda: iam.delete_role_policy(RoleName=name, PolicyName=INLINE))
    absent_is_fine(doing, lambda: iam.delete_role(RoleName=name))


def _held(clients: Clients, name: str, doing: str) -> list[str]:
    """The roles in an instance profile: one, or none where the profile is gone or was emptied before."""
    try:
        with asking(doing):
            profile = clients.iam().get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    except NotThere:
        return []
    return [role["RoleName"] for role in profile["Roles"]]
