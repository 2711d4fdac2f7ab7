"""The committed policies: enough for what is done, and nothing beyond it.

moto enforces the actions of a policy, and of S3 the resources too; it does not look at EC2's resources or at
conditions. What moto decides, moto is asked; the rest is decided by `iam_rules` on the files themselves.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.aws import Aws, deadline, iam, listing, prices
from infra.aws.names import bucket
from infra.cluster import Run
from infra.events import Event
from infra.faults import CloudFault
from infra.settings import CloudConfig
from tests.infra.aws import double as doubles
from tests.infra.aws.conftest import PUBLIC_KEY, bare, launch, make_all, node_tags
from tests.infra.aws.iam_rules import allows

ACCOUNT = "123456789012"
HERE = f"arn:aws:ec2:us-east-1:{ACCOUNT}"
OURS = {"aws:ResourceTag/fifty-project": "fifty", "aws:ResourceTag/fifty-cluster": "main"}


def _policy(run: Run, part: str) -> dict[str, Any]:
    values = {**iam.policy_values(run, ACCOUNT), "bucket": bucket("auto", run.project, ACCOUNT)}
    return iam.policy(part, values)


@contextmanager
def _as_user(aws: Aws, moto: str, policy: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """Somebody who has this policy and nothing else, in an AWS that enforces it."""
    users = aws.clients.iam()
    users.create_user(UserName="somebody")
    # Of EC2 moto knows no resources: to it all of them are `*`.
    loosened = [
        {**statement, "Resource": "*"} if not _s3(statement) else statement for statement in policy["Statement"]
    ]
    document = json.dumps({**policy, "Statement": [{**one, "Condition": {}} for one in loosened]})
    users.put_user_policy(UserName="somebody", PolicyName="it", PolicyDocument=document)
    key = users.create_access_key(UserName="somebody")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    theirs = Aws(CloudConfig())
    doubles.enforce(moto, 0)
    try:
        yield theirs
    finally:
        doubles.enforce(moto, float("inf"))
        theirs.clients.close()


def _s3(statement: dict[str, Any]) -> bool:
    return str(statement["Action"][0]).startswith("s3:")


def test_the_launchers_policy_is_enough(
    aws: Aws, moto: str, run: Run, monkeypatch: pytest.MonkeyPatch, double: doubles.Double
) -> None:
    double.quotas |= {"L-1216C47A": 5, "L-3819A6DF": 8}
    with _as_user(aws, moto, _policy(run, "launcher"), monkeypatch) as theirs:
        assert theirs.whoami().owner == "somebody"
        theirs.machine("g4dn.xlarge")
        prices._spot(theirs.clients, ["g4dn.xlarge"])
        theirs.image(run.shape.worker.machine)
        theirs.check(run)
        store = theirs.store()
        store.append(Event(1, run.start, "reserved", run.id, dollars=1.0))
        store.read()
        made = make_all(theirs, run)
        make_all(theirs, replace(run, ssh_from="198.51.100.1/32"))
        launch(theirs, run, made)
        theirs.clients.ec2().describe_regions()
        # moto cannot check the signatures of the Scheduler's requests.
        monkeypatch.delitem(listing.REGIONAL, "schedules")
        monkeypatch.setattr(deadline, "reschedule", lambda *_: None)
        [node] = theirs.inventory().nodes
        theirs.set_deadline(run, run.deadline)
        theirs.terminate([node])
        for leftover in theirs.inventory().leftovers:
            theirs.remove(leftover)
        assert theirs.inventory().leftovers == ()


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda aws: aws.clients.ec2().stop_instances(InstanceIds=["i-0123456789abcdef0"]),
        lambda aws: aws.clients.ec2().modify_instance_attribute(
            InstanceId="i-0123456789abcdef0", DisableApiTermination={"Value": True}
        ),
        lambda aws: aws.clients.iam().create_user(UserName="another"),
        lambda aws: aws.clients.iam().attach_role_policy(RoleName="a", PolicyArn="arn:aws:iam::aws:policy/Admin"),
        lambda aws: aws.clients.s3().list_objects_v2(Bucket="another"),
        lambda aws: aws.clients.s3().delete_object(Bucket=aws.store().bucket.name, Key="ledger/00000001.json"),
    ],
)
def test_the_launchers_policy_is_not_more(
    aws: Aws, moto: str, run: Run, monkeypatch: pytest.MonkeyPatch, forbidden: Callable[[Aws], object]
) -> None:
    from botocore.exceptions import ClientError

    aws.clients.s3().create_bucket(Bucket="another")
    with (
        _as_user(aws, moto, _policy(run, "launcher"), monkeypatch) as theirs,
        pytest.raises(ClientError, match=r"UnauthorizedOperation|AccessDenied"),
    ):
        forbidden(theirs)


def test_the_heads_policy_is_enough_for_what_ray_and_the_watchdog_ask(
    aws: Aws, moto: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_all(aws, run)
    with _as_user(aws, moto, _policy(run, "head"), monkeypatch) as theirs:
        [worker] = launch(theirs, run, made, "worker")
        ec2 = theirs.clients.ec2()
        ec2.describe_instances(Filters=[{"Name": "tag:ray-cluster-name", "Values": ["fifty-main"]}])
        ec2.create_tags(Resources=[worker], Tags=[{"Key": "ray-node-status", "Value": "up-to-date"}])
        ec2.terminate_instances(InstanceIds=[worker])
        theirs.clients.ssm().get_parameter(Name=made["deadline"])
        with pytest.raises(CloudFault, match="may not do that"):
            theirs.inventory()
        with pytest.raises(CloudFault, match="may not do that"):
            make_all(theirs, run)


def test_the_workers_policy_lets_it_read_its_deadline_alone(
    aws: Aws, moto: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    made = make_all(aws, run)
    [head] = bare(aws, node_tags(run))
    with _as_user(aws, moto, _policy(run, "worker"), monkeypatch) as theirs:
        theirs.clients.ssm().get_parameter(Name=made["deadline"])
        for forbidden in (
            lambda: theirs.clients.ssm().put_parameter(Name=made["deadline"], Value="9999999999", Overwrite=True),
            lambda: theirs.clients.ec2().terminate_instances(InstanceIds=[head]),
            lambda: theirs.clients.ec2().describe_instances(),
        ):
            with pytest.raises(ClientError, match=r"UnauthorizedOperation|AccessDenied"):
                forbidden()


@pytest.mark.parametrize("part", ["head", "schedule"])
@pytest.mark.parametrize(
    ("tags", "allowed"),
    [
        (OURS, True),
        ({**OURS, "aws:ResourceTag/fifty-cluster": "other"}, False),
        ({**OURS, "aws:ResourceTag/fifty-project": "other"}, False),
        ({}, False),
    ],
)
def test_only_machines_of_the_cluster_can_be_ended(run: Run, part: str, tags: dict[str, str], allowed: bool) -> None:
    assert allows(_policy(run, part), "ec2:TerminateInstances", f"{HERE}:instance/i-1", tags) is allowed
    elsewhere = f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/i-1"
    assert not allows(_policy(run, part), "ec2:TerminateInstances", elsewhere, tags)


LAUNCHED = {
    "aws:RequestTag/fifty-project": "fifty",
    "aws:RequestTag/fifty-cluster": "main",
    "aws:RequestTag/fifty-role": "worker",
    "ec2:InstanceType": "g4dn.xlarge",
    "ec2:MetadataHttpTokens": "required",
}


@pytest.mark.parametrize("changed", [None, *LAUNCHED])
def test_the_head_launches_workers_of_its_own_alone(run: Run, changed: str | None) -> None:
    context = {**LAUNCHED, **({changed: "another"} if changed else {})}
    assert allows(_policy(run, "head"), "ec2:RunInstances", f"{HERE}:instance/*", context) is (changed is None)


def test_the_heads_launch_is_allowed_on_every_resource_that_it_touches(run: Run) -> None:
    head = _policy(run, "head")
    disk = {
        "aws:RequestTag/fifty-project": "fifty",
        "aws:RequestTag/fifty-cluster": "main",
        "ec2:Encrypted": "true",
    }
    for resource, context in (
        ("volume/*", disk),
        ("security-group/sg-1", OURS),
        ("key-pair/fifty-main", OURS),
        ("subnet/subnet-1", {}),
        ("network-interface/*", {}),
        ("spot-instances-request/*", {}),
    ):
        assert allows(head, "ec2:RunInstances", f"{HERE}:{resource}", context), resource
    assert allows(head, "ec2:RunInstances", f"arn:aws:ec2:us-east-1::image/{run.image}")
    assert not allows(head, "ec2:RunInstances", "arn:aws:ec2:us-east-1::image/ami-another")
    assert not allows(head, "ec2:RunInstances", f"{HERE}:volume/*", {**disk, "ec2:Encrypted": "false"})
    assert not allows(head, "ec2:RunInstances", f"{HERE}:security-group/sg-2", {})


def test_the_head_tags_what_it_launches_and_never_moves_a_deadline(run: Run) -> None:
    head, machine = _policy(run, "head"), f"{HERE}:instance/i-1"
    assert allows(head, "ec2:CreateTags", machine, {"ec2:CreateAction": "RunInstances"})
    assert allows(head, "ec2:CreateTags", machine, {**OURS, "aws:TagKeys": ["ray-node-status", "Name"]})
    assert not allows(head, "ec2:CreateTags", machine, {**OURS, "aws:TagKeys": ["fifty-deadline"]})
    assert not allows(head, "ec2:CreateTags", machine, {"aws:TagKeys": ["ray-node-status"]})
    assert not allows(head, "ssm:PutParameter", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/fifty/fifty/main/deadline")


def test_the_head_gives_away_the_workers_role_alone(run: Run) -> None:
    head, passed = _policy(run, "head"), {"iam:PassedToService": "ec2.amazonaws.com"}
    role = f"arn:aws:iam::{ACCOUNT}:role/fifty/fifty/fifty-main"
    assert allows(head, "iam:PassRole", f"{role}-worker", passed)
    assert not allows(head, "iam:PassRole", f"{role}-head", passed)
    assert not allows(head, "iam:PassRole", f"{role}-worker", {"iam:PassedToService": "lambda.amazonaws.com"})


def test_the_launcher_ends_and_deletes_what_is_its_projects_alone(run: Run) -> None:
    launcher = _policy(run, "launcher")
    ours, others = {"aws:ResourceTag/fifty-project": "fifty"}, {"aws:ResourceTag/fifty-project": "other"}
    for action, resource in (
        ("TerminateInstances", "instance/i-1"),
        ("DeleteVolume", "volume/vol-1"),
        ("DeleteSecurityGroup", "security-group/sg-1"),
        ("DeleteKeyPair", "key-pair/key-1"),
        ("ReleaseAddress", "elastic-ip/eipalloc-1"),
        ("CreateTags", "instance/i-1"),
    ):
        assert allows(launcher, f"ec2:{action}", f"{HERE}:{resource}", ours)
        assert not allows(launcher, f"ec2:{action}", f"{HERE}:{resource}", others)
        assert not allows(launcher, f"ec2:{action}", f"{HERE}:{resource}", {})
    assert not allows(launcher, "iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/admin")
    assert not allows(launcher, "ec2:RunInstances", f"{HERE}:instance/*", {})
    assert allows(
        launcher, "iam:PassRole", iam.role_arn(run, ACCOUNT, "head"), {"iam:PassedToService": "ec2.amazonaws.com"}
    )
    for name in ("/fifty/fifty", "/fifty/fifty/main/deadline"):
        assert allows(launcher, "ssm:GetParametersByPath", f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter{name}")


def test_the_launcher_makes_schedules_of_its_project_alone(run: Run) -> None:
    # moto cannot check the signatures of the Scheduler's requests, so that it is not asked.
    launcher, scheduler = _policy(run, "launcher"), f"arn:aws:scheduler:us-east-1:{ACCOUNT}"
    for action in (
        "CreateScheduleGroup",
        "GetScheduleGroup",
        "DeleteScheduleGroup",
        "TagResource",
        "ListTagsForResource",
    ):
        assert allows(launcher, f"scheduler:{action}", f"{scheduler}:schedule-group/fifty-main")
        assert not allows(launcher, f"scheduler:{action}", f"{scheduler}:schedule-group/other-main")
    for action in ("CreateSchedule", "GetSchedule", "UpdateSchedule"):
        assert allows(launcher, f"scheduler:{action}", f"{scheduler}:schedule/fifty-main/i-1")
        assert not allows(launcher, f"scheduler:{action}", f"{scheduler}:schedule/default/i-1")
    role = iam.role_arn(run, ACCOUNT, "schedule")
    assert allows(launcher, "iam:PassRole", role, {"iam:PassedToService": "scheduler.amazonaws.com"})


@pytest.mark.parametrize("path", sorted(iam.POLICIES.glob("*.json")), ids=lambda path: path.stem)
def test_no_policy_allows_everything(path: Path, run: Run) -> None:
    policy = _policy(run, path.stem)
    assert policy["Version"] == "2012-10-17"
    for statement in policy["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action for action in actions)
        writes = [action for action in actions if not action.split(":")[1].startswith(("Describe", "List", "Get"))]
        assert not writes or statement["Resource"] != "*"
    # IAM takes no longer ones for a role.
    assert len(json.dumps(policy, separators=(",", ":"))) < 10240


def test_a_policy_with_a_hole_is_none(run: Run) -> None:
    with pytest.raises(KeyError, match="cluster"):
        iam.policy("worker", {"partition": "aws", "region": "r", "account": "a", "project": "p"})


def test_the_schedules_role_is_taken_on_in_our_name_alone() -> None:
    trusted = iam.trust("schedule", ACCOUNT)["Statement"][0]
    assert trusted["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trusted["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_roles_have_the_committed_policies(aws: Aws, run: Run) -> None:
    for step in aws.steps(run, PUBLIC_KEY)[:2]:
        step.ensure()
    for part in ("head", "worker"):
        role: Any = aws.clients.iam().get_role_policy(RoleName=f"fifty-main-{part}", PolicyName="fifty")
        assert role["PolicyDocument"] == _policy(run, part)
