"""What is refused before anything costs money: quotas, disks, rights, networks."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from infra.aws import Aws
from infra.cluster import Run
from infra.faults import Refused
from tests.infra.aws import double as doubles
from tests.infra.aws.conftest import SMALL, Build, answering, with_shape

Fresh = Callable[..., Aws]


def test_a_run_that_may_be_launched(aws: Aws, run: Run, double: doubles.Double) -> None:
    double.quotas |= {"L-1216C47A": 32, "L-3819A6DF": 8, "L-DB2E81BA": 0}
    aws.check(run)


def test_a_new_account_is_told_how_to_ask_for_gpus(aws: Aws, run: Run, double: doubles.Double) -> None:
    double.quotas |= {"L-1216C47A": 5, "L-3819A6DF": 0, "L-DB2E81BA": 0}
    with pytest.raises(Refused) as told:
        aws.check(run)
    said = str(told.value)
    assert "2 x g4dn.xlarge need 8 virtual processors" in said
    assert "0 of `All G and VT Spot Instance Requests` in us-east-1, as every new account" in said
    assert "quotas/L-3819A6DF" in said
    assert "--quota-code L-3819A6DF --desired-value 8" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("quotas", "spot", "fallback", "match"),
    [
        ({"L-3819A6DF": 4, "L-DB2E81BA": 0}, True, True, "set cloud.workers to 1, or ask"),
        ({"L-3819A6DF": 0, "L-DB2E81BA": 8}, True, True, None),
        ({"L-3819A6DF": 0, "L-DB2E81BA": 8}, True, False, "Spot Instance Requests"),
        ({"L-3819A6DF": 8, "L-DB2E81BA": 0}, False, True, "Running On-Demand G and VT"),
        ({"L-1216C47A": 1}, True, True, "the head needs 2 virtual processors.*Standard"),
        ({}, True, True, None),
    ],
)
def test_quotas(
    build: Build,
    run: Run,
    double: doubles.Double,
    quotas: dict[str, float],
    spot: bool,
    fallback: bool,
    match: str | None,
) -> None:
    double.quotas |= quotas
    aws, run = build(fallback=fallback), with_shape(run, spot=spot)
    if match is None:
        aws.check(run)
    else:
        with pytest.raises(Refused, match=match):
            aws.check(run)


def test_head_and_workers_count_against_one_quota(aws: Aws, run: Run, double: doubles.Double) -> None:
    double.quotas |= {"L-1216C47A": 5}
    processors = replace(run.shape.worker, machine=SMALL)
    aws.check(with_shape(run, worker=processors, spot=False, workers=1))
    with pytest.raises(Refused, match=r"2 x m5\.large need 6"):
        aws.check(with_shape(run, worker=processors, spot=False, workers=2))


def test_a_disk_smaller_than_the_image(aws: Aws, run: Run) -> None:
    with pytest.raises(Refused, match=r"cloud\.disk_gb: the image .* alone takes 15 GB; set it to 25 or more"):
        aws.check(with_shape(run, worker_disk_gb=10))


def test_an_image_that_was_withdrawn(aws: Aws, run: Run) -> None:
    with pytest.raises(Refused, match="there is no image ami-0123456789abcdef0 in us-east-1"):
        aws.check(replace(run, image="ami-0123456789abcdef0"))


def test_no_right_to_launch(aws: Aws, run: Run) -> None:
    with (
        answering(aws.clients.ec2(), "RunInstances", "UnauthorizedOperation", status=403),
        pytest.raises(Refused, match=r"may not do that; infra/policies/launcher\.json"),
    ):
        aws.check(run)
    assert aws.inventory().nodes == ()


def test_an_account_without_a_default_network(aws: Aws, run: Run) -> None:
    with (
        answering(aws.clients.ec2(), "DescribeVpcs", "OptInRequired", status=401),
        pytest.raises(Refused, match="not signed up"),
    ):
        aws.check(run)
    ec2 = aws.clients.ec2("eu-west-2")
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    for subnet in ec2.describe_subnets()["Subnets"]:
        ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    ec2.delete_vpc(VpcId=network)
    from infra.aws import network as networks
    from infra.aws.clients import Clients

    with pytest.raises(Refused, match=r"eu-west-2 has no default VPC.*create-default-vpc"):
        networks.vpc(Clients("eu-west-2"))
