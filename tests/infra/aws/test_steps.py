"""What is made before the first machine, and its end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.aws import Aws
from infra.aws.names import tag_dict
from infra.cluster import Leftover, Run
from infra.faults import CloudFault, Refused
from tests.infra.aws.conftest import OTHER_KEY, PUBLIC_KEY, Build, answering, bare, make_all, node_tags

# What removing a profile asks for, in order.
REMOVAL = ("RemoveRoleFromInstanceProfile", "DeleteInstanceProfile", "DeleteRolePolicy", "DeleteRole")


def test_steps_are_safe_to_repeat(build: Build, run: Run) -> None:
    aws = build(schedule=True)
    made = make_all(aws, run)
    first = aws.inventory().leftovers
    assert make_all(aws, run) == made
    assert aws.inventory().leftovers == first


def test_a_run_leaves_nothing(build: Build, run: Run) -> None:
    aws = build(schedule=True)
    make_all(aws, run)
    kinds = sorted((one.kind, one.cluster, one.run) for one in aws.inventory().leftovers)
    assert kinds == sorted(
        (kind, "main", run.id) for kind in ("group", "key", "parameter", "profile", "profile", "profile")
    )
    assert all(one.deadline == run.deadline for one in aws.inventory().leftovers)
    for leftover in aws.inventory().leftovers:
        aws.remove(leftover)
        aws.remove(leftover)
    assert aws.inventory().leftovers == ()


@pytest.mark.parametrize("killed_after", range(10))
def test_a_kill_between_the_steps_leaves_what_the_tags_find(aws: Aws, run: Run, killed_after: int) -> None:
    for step in list(aws.steps(run, PUBLIC_KEY))[:killed_after]:
        step.ensure()
    for leftover in aws.inventory().leftovers:
        assert leftover.cluster == run.cluster
        aws.remove(leftover)
    assert aws.inventory().leftovers == ()


@pytest.mark.parametrize("stopped_at", [*REMOVAL])
def test_a_removal_that_was_stopped_is_taken_up_by_the_next(aws: Aws, run: Run, stopped_at: str) -> None:
    make_all(aws, run)
    profiles = [one for one in aws.inventory().leftovers if one.kind == "profile"]
    for one in profiles:
        with answering(aws.clients.iam(), stopped_at, "AccessDenied"), pytest.raises(CloudFault):
            aws.remove(one)
    assert {one.id for one in aws.inventory().leftovers if one.kind == "profile"} == {one.id for one in profiles}
    for one in profiles:
        aws.remove(one)
    assert "profile" not in {one.kind for one in aws.inventory().leftovers}


def test_the_group_lets_in_ssh_from_one_address_and_its_own_machines(aws: Aws, run: Run) -> None:
    group = make_all(aws, run)["group"]
    assert _open(aws, group) == {("tcp", 22, "203.0.113.7/32"), ("-1", None, group)}


def test_the_group_is_closed_to_whatever_else_it_was_opened_to(aws: Aws, run: Run) -> None:
    group = make_all(aws, run)["group"]
    world: Any = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    aws.clients.ec2().authorize_security_group_ingress(GroupId=group, IpPermissions=world)
    moved = replace(run, ssh_from="198.51.100.9/32")
    assert make_all(aws, moved)["group"] == group
    assert _open(aws, group) == {("tcp", 22, "198.51.100.9/32"), ("-1", None, group)}


@pytest.mark.parametrize("source", ["0.0.0.0/0", "10.0.0.0/8", "::/0", "", "here"])
def test_ssh_is_opened_to_one_address_alone(aws: Aws, run: Run, source: str) -> None:
    with pytest.raises(Refused, match=r"cloud\.ssh_from"):
        make_all(aws, replace(run, ssh_from=source))


def _open(aws: Aws, group: str) -> set[tuple[Any, ...]]:
    rules = aws.clients.ec2().describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    return {
        (rule["IpProtocol"], None if rule["IpProtocol"] == "-1" else rule["FromPort"], source)
        for rule in rules
        for source in [
            *(one["CidrIp"] for one in rule.get("IpRanges", [])),
            *(one["CidrIpv6"] for one in rule.get("Ipv6Ranges", [])),
            *(one["GroupId"] for one in rule.get("UserIdGroupPairs", [])),
        ]
    }


def test_a_key_that_was_lost_is_replaced(aws: Aws, run: Run) -> None:
    name = make_all(aws, run)["key"]
    make_all(aws, run, OTHER_KEY)
    pairs = aws.clients.ec2().describe_key_pairs(KeyNames=[name], IncludePublicKey=True)["KeyPairs"]
    assert [pair["PublicKey"].split()[:2] for pair in pairs] == [OTHER_KEY.split()[:2]]


@pytest.mark.parametrize("what", ["key pair", "security group", "role"])
def test_what_is_not_ours_is_not_taken_over(aws: Aws, run: Run, what: str) -> None:
    ec2 = aws.clients.ec2()
    if what == "key pair":
        ec2.import_key_pair(KeyName="fifty-main", PublicKeyMaterial=PUBLIC_KEY.encode())
    elif what == "security group":
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        ec2.create_security_group(GroupName="fifty-main", Description="another's", VpcId=vpc)
    else:
        aws.clients.iam().create_role(RoleName="fifty-main-head", AssumeRolePolicyDocument="{}")
    with pytest.raises(Refused, match=f"a {what} `fifty-main.*not ours"):
        make_all(aws, run)


def test_a_group_with_a_machine_in_it_stays_until_the_machine_has_ended(aws: Aws, run: Run) -> None:
    group = make_all(aws, run)["group"]
    left = Leftover("group", group, run.cluster, run.region, None)
    with (
        answering(aws.clients.ec2(), "DeleteSecurityGroup", "DependencyViolation"),
        pytest.raises(CloudFault, match=f"removing the group {group}: AWS answers DependencyViolation"),
    ):
        aws.remove(left)
    aws.remove(left)
    assert "group" not in {one.kind for one in aws.inventory().leftovers}


def test_disks_and_addresses_that_were_left_are_found_and_removed(aws: Aws, run: Run) -> None:
    ec2 = aws.clients.ec2()
    tags: Any = [{"Key": key, "Value": value} for key, value in run.tags().items()]
    ec2.create_volume(
        Size=10, AvailabilityZone="us-east-1a", TagSpecifications=[{"ResourceType": "volume", "Tags": tags}]
    )
    ec2.create_volume(Size=10, AvailabilityZone="us-east-1a")
    ec2.allocate_address(Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": tags}])
    ec2.allocate_address(Domain="vpc")
    found = aws.inventory().leftovers
    assert sorted(one.kind for one in found) == ["address", "disk"]
    assert {(one.run, one.deadline) for one in found} == {(run.id, run.deadline)}
    for leftover in found:
        aws.remove(leftover)
    assert aws.inventory().leftovers == ()
    assert len(ec2.describe_volumes()["Volumes"]) == len(ec2.describe_addresses()["Addresses"]) == 1


def test_the_deadline_stands_where_the_nodes_read_it(aws: Aws, run: Run) -> None:
    name = make_all(aws, run)["deadline"]
    assert name == "/fifty/fifty/main/deadline"
    value = aws.clients.ssm().get_parameter(Name=name)["Parameter"]["Value"]
    assert datetime.fromtimestamp(int(value), UTC) == run.deadline


def test_an_extension_moves_the_parameter_all_tags_and_the_schedule(build: Build, run: Run) -> None:
    aws = build(schedule=True)
    made = make_all(aws, run)
    [head] = bare(aws, node_tags(run), SecurityGroupIds=[made["group"]])
    [node] = aws.inventory().nodes
    aws.launched(run, node)
    aws.launched(run, node)
    later = run.deadline + timedelta(hours=2)
    aws.set_deadline(run, later)
    after = aws.inventory()
    assert {one.deadline for one in (*after.nodes, *after.leftovers)} == {later}
    tags = tag_dict(aws.clients.ec2().describe_instances(InstanceIds=[head])["Reservations"][0]["Instances"][0]["Tags"])  # type: ignore[arg-type]
    assert tags["fifty-deadline"] == str(int(later.timestamp()))
    scheduled = aws.clients.scheduler().get_schedule(GroupName="fifty-main", Name=head)
    assert scheduled["ScheduleExpression"] == f"at({later:%Y-%m-%dT%H:%M:%S})"
    assert head in scheduled["Target"]["Input"]
    for leftover in after.leftovers:
        aws.remove(leftover) if leftover.kind == "schedule" else None
    assert "schedule" not in {one.kind for one in aws.inventory().leftovers}


def test_a_worker_launched_after_an_extension_has_the_deadline_that_it_obeys(aws: Aws, run: Run) -> None:
    make_all(aws, run)
    later = run.deadline + timedelta(hours=2)
    aws.set_deadline(run, later)
    bare(aws, node_tags(run, "worker"))
    assert [node.deadline for node in aws.inventory().nodes] == [later]


def test_the_head_is_scheduled_to_end_by_choice_only(aws: Aws, run: Run) -> None:
    make_all(aws, run)
    bare(aws, node_tags(run))
    aws.launched(run, aws.inventory().nodes[0])
    assert [group["Name"] for group in aws.clients.scheduler().list_schedule_groups()["ScheduleGroups"]] == ["default"]


def test_names_that_aws_refuses_are_refused_before(aws: Aws, run: Run) -> None:
    for changed, match in (
        (replace(run, project="sg-mine"), "cloud.project.*sg-"),
        (replace(run, project="p" * 60), "too long"),
        (replace(run, owner="Älice"), "owner.*Älice"),
        (replace(run, cluster="a b"), "cloud.cluster"),
    ):
        with pytest.raises(Refused, match=match):
            aws.check(changed)


def test_a_bucket_that_s3_refuses_is_refused_before(build: Build, run: Run) -> None:
    with pytest.raises(Refused, match=r"cloud\.aws\.bucket.*My_Bucket"):
        build(bucket="My_Bucket").check(run)
