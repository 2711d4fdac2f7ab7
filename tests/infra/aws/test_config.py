"""The Ray cluster config: complete, safe, and taken whole by RunInstances."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra import guard
from infra.aws import Aws, config
from infra.cluster import Run
from infra.settings import CloudConfig
from tests.infra.aws.conftest import launch, make_all, with_shape

MADE = {
    "worker-profile": "fifty-main-worker",
    "head-profile": "fifty-main-head",
    "root": "/dev/sda1",
    "head-subnets": "subnet-1,subnet-2",
    "worker-subnets": "subnet-2",
    "key": "fifty-main",
    "group": "sg-1",
}
KEY = Path("/somewhere/main.pem")


def _rendered(run: Run, **changes: Any) -> dict[str, Any]:
    return config.render(run, CloudConfig(**changes), MADE, KEY)


def test_the_guard_lets_it_pass(run: Run) -> None:
    for shape in ({}, {"spot": False}):
        guard.check(_rendered(with_shape(run, **shape)), with_shape(run, **shape))


def test_it_is_pure(run: Run) -> None:
    assert _rendered(run) == _rendered(run)
    assert json.loads(json.dumps(_rendered(run))) == _rendered(run)


def test_it_is_valid_by_rays_own_schema(run: Run) -> None:
    import jsonschema
    import ray

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(_rendered(run), schema)


def test_spot_comes_first_and_on_demand_after_it(run: Run) -> None:
    types = _rendered(run)["available_node_types"]
    assert list(types) == ["head", "worker-spot", "worker"]
    assert types["worker-spot"]["priority"] > types["worker"]["priority"]
    assert "InstanceMarketOptions" not in types["worker"]["node_config"]
    assert types["worker-spot"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    # The same resources: whoever is there will do.
    assert types["worker-spot"]["resources"] == types["worker"]["resources"] == {"CPU": 4, "GPU": 1}
    assert list(_rendered(run, fallback=False)["available_node_types"]) == ["head", "worker-spot"]
    assert list(_rendered(with_shape(run, spot=False))["available_node_types"]) == ["head", "worker"]


def test_there_are_never_more_workers_than_were_reserved(run: Run) -> None:
    rendered = _rendered(run)
    assert rendered["max_workers"] == run.shape.workers
    assert rendered["available_node_types"]["head"]["max_workers"] == 0
    assert rendered["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_prices_stand_on_the_machines(run: Run) -> None:
    prices = {
        name: next(tag["Value"] for tag in spec["Tags"] if tag["Key"] == "fifty-price")
        for name, kind in _rendered(run)["available_node_types"].items()
        for spec in kind["node_config"]["TagSpecifications"]
        if spec["ResourceType"] == "instance"
    }
    assert prices == {"head": "96000", "worker-spot": "200000", "worker": "526000"}


def test_spot_machines_cost_no_more_than_they_are_booked_at(run: Run) -> None:
    def most(run: Run) -> str:
        spot = _rendered(run)["available_node_types"]["worker-spot"]["node_config"]["InstanceMarketOptions"]
        return str(spot["SpotOptions"]["MaxPrice"])

    assert most(run) == "0.250000"
    for price in (0.5, None):
        assert most(with_shape(run, worker=replace(run.shape.worker, spot=price))) == "0.526000"


def test_projects_of_one_account_do_not_share_rays_name(run: Run) -> None:
    assert _rendered(run)["cluster_name"] != _rendered(replace(run, project="other"))["cluster_name"]


def test_no_role_of_rays_own_is_asked_for(run: Run) -> None:
    for kind, role in (("head", "head"), ("worker", "worker"), ("worker-spot", "worker")):
        node = _rendered(run)["available_node_types"][kind]["node_config"]
        assert node["IamInstanceProfile"] == {"Name": f"fifty-main-{role}"}
        assert node["SecurityGroupIds"] == ["sg-1"]


@pytest.mark.parametrize("kind", ["head", "worker-spot", "worker"])
def test_run_instances_takes_it_whole(aws: Aws, run: Run, kind: str) -> None:
    [machine] = launch(aws, run, make_all(aws, run), kind)
    ec2 = aws.clients.ec2()
    told: Any = ec2.describe_instances(InstanceIds=[machine])["Reservations"][0]["Instances"][0]
    assert told["MetadataOptions"]["HttpTokens"] == "required"
    assert told["KeyName"] == "fifty-main"
    assert told["IamInstanceProfile"]["Arn"].endswith("fifty-main-worker" if kind != "head" else "fifty-main-head")
    assert [group["GroupName"] for group in told["SecurityGroups"]] == ["fifty-main"]
    behaviour = ec2.describe_instance_attribute(InstanceId=machine, Attribute="instanceInitiatedShutdownBehavior")
    assert behaviour["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    assert ec2.describe_instance_attribute(InstanceId=machine, Attribute="userData")["UserData"]["Value"]
    assert [disk["Ebs"]["DeleteOnTermination"] for disk in told["BlockDeviceMappings"]] == [True]
