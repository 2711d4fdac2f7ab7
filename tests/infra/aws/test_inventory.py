"""What AWS tells of our machines, and their end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from infra.aws import Aws, listing
from infra.cluster import DEADLINE, PRICE, Run
from infra.faults import CloudFault
from tests.infra.aws.conftest import Build, answering, bare, launch, make_all, node_tags


def test_a_machine_is_told_of_as_it_was_launched(aws: Aws, run: Run) -> None:
    made = make_all(aws, run)
    [head] = launch(aws, run, made)
    [spot] = launch(aws, run, made, "worker-spot")
    nodes = {node.id: node for node in aws.inventory().nodes}
    assert set(nodes) == {head, spot}
    node = nodes[head]
    assert (node.cluster, node.run, node.role, node.owner) == ("main", run.id, "head", "alice")
    assert (node.machine, node.region, node.spot, node.price) == ("m5.large", "us-east-1", False, 0.096)
    assert node.deadline == run.deadline
    assert abs(node.launched - datetime.now(UTC)) < timedelta(minutes=1)
    assert node.address
    assert (nodes[spot].role, nodes[spot].spot, nodes[spot].price) == ("worker", True, 0.2)


def test_roles_and_profiles_of_others_are_no_leftovers(aws: Aws) -> None:
    """Ray's launcher makes a role for a whole account, which other clusters go on with."""
    iam = aws.clients.iam()
    iam.create_role(RoleName="ray-autoscaler-v1", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="ray-autoscaler-v1")
    assert aws.inventory().leftovers == ()


def test_disks_of_machines_bear_their_tags_and_are_no_leftovers(aws: Aws, run: Run) -> None:
    launch(aws, run, make_all(aws, run))
    disks = aws.clients.ec2().describe_volumes(Filters=[{"Name": "tag:fifty-run", "Values": [run.id]}])["Volumes"]
    assert [(disk["Encrypted"], disk["Size"], disk["VolumeType"]) for disk in disks] == [(True, 80, "gp3")]
    assert "disk" not in {one.kind for one in aws.inventory().leftovers}
    aws.terminate(aws.inventory().nodes)
    assert aws.clients.ec2().describe_volumes(Filters=[{"Name": "tag:fifty-run", "Values": [run.id]}])["Volumes"] == []


def test_machines_of_others_are_not_ours(aws: Aws, run: Run) -> None:
    bare(aws, {"Name": "another's"})
    bare(aws, node_tags(replace(run, project="other")))
    assert aws.inventory().nodes == ()


def test_tags_that_make_no_sense_are_borne(aws: Aws, run: Run) -> None:
    bare(aws, {"fifty-project": "fifty", DEADLINE: "soon", PRICE: "-1", "fifty-role": "king"})
    [node] = aws.inventory().nodes
    assert (node.deadline, node.price, node.role, node.run, node.cluster) == (None, None, None, "", "")


def test_termination_is_safe_twice_and_its_moment_is_told(aws: Aws, run: Run) -> None:
    bare(aws, node_tags(run), 3)
    before = aws.inventory().nodes
    aws.terminate(before)
    aws.terminate(before)
    after = aws.inventory().nodes
    assert {node.state for node in after} == {"terminated"}
    assert not any(node.costs for node in after)
    for node in after:
        assert node.ended
        assert abs(node.ended - datetime.now(UTC)) < timedelta(minutes=1)
    aws.terminate(after)


def test_one_that_aws_does_not_know_keeps_no_other_alive(aws: Aws, run: Run) -> None:
    bare(aws, node_tags(run), 2)
    known = aws.inventory().nodes
    aws.terminate([*known, replace(known[0], id="i-0123456789abcdef0")])
    assert {node.state for node in aws.inventory().nodes} == {"terminated"}


def test_one_that_cannot_be_ended_keeps_no_other_alive(aws: Aws, run: Run) -> None:
    bare(aws, node_tags(run), 3)
    stubborn, *others = aws.inventory().nodes
    with (
        answering(aws.clients.ec2(), "TerminateInstances", "OperationNotPermitted", times=2),
        pytest.raises(CloudFault, match=f"ending {stubborn.id}: AWS answers OperationNotPermitted"),
    ):
        aws.terminate([stubborn, *others])
    assert [node.id for node in aws.inventory().nodes if node.costs] == [stubborn.id]


def test_a_stopped_machine_costs(aws: Aws, run: Run) -> None:
    ids = bare(aws, node_tags(run))
    aws.clients.ec2().stop_instances(InstanceIds=ids)
    [node] = aws.inventory().nodes
    assert (node.state, node.costs, node.ended) == ("stopped", True, None)


def test_every_region_is_asked(build: Build, run: Run) -> None:
    aws = build()
    bare(aws, node_tags(run), region="eu-west-1")
    bare(aws, node_tags(run))
    make_all(build("ap-south-1"), replace(run, region="ap-south-1", cluster="far"))
    assert {node.region for node in aws.inventory().nodes} == {"us-east-1"}
    everything = aws.inventory(everywhere=True)
    assert {node.region for node in everything.nodes} == {"us-east-1", "eu-west-1"}
    assert {one.region for one in everything.leftovers} == {"ap-south-1", "global"}
    assert everything.unreachable == {}
    aws.terminate(everything.nodes)
    for leftover in everything.leftovers:
        aws.remove(leftover)
    rest = aws.inventory(everywhere=True)
    assert rest.leftovers == ()
    assert not any(node.costs for node in rest.nodes)


def test_a_region_that_does_not_answer_is_named(aws: Aws, run: Run) -> None:
    bare(aws, node_tags(run))
    with answering(aws.clients.ec2("eu-west-1"), "DescribeInstances", "AuthFailure", status=401):
        found = aws.inventory(everywhere=True)
    assert list(found.unreachable) == ["eu-west-1"]
    assert len(found.nodes) == 1
    with (
        answering(aws.clients.ec2(), "DescribeInstances", "UnauthorizedOperation", status=403),
        pytest.raises(CloudFault, match="may not do that"),
    ):
        aws.inventory()


def test_many_machines_come_in_pages(aws: Aws, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 5)
    for _ in range(12):
        bare(aws, node_tags(run))
    assert len({node.id for node in aws.inventory().nodes}) == 12


def test_a_hundred_machines_are_listed_by_as_many_requests_as_one(aws: Aws, run: Run) -> None:
    make_all(aws, run)
    bare(aws, node_tags(run, "worker"), 1)
    aws.inventory()
    sent: list[str] = []
    for client in aws.clients._made.values():
        client.meta.events.register("before-send", lambda request, **_: sent.append(request.url))
    assert len(aws.inventory().nodes) == 1
    few = len(sent)
    bare(aws, node_tags(run, "worker"), 99)
    sent.clear()
    assert len(aws.inventory().nodes) == 100
    assert len(sent) == few > 0, sent
