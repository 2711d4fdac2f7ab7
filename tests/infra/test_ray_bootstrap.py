"""`ray up` up to the launch: Ray's own AWS provider fills in a config, against moto in this very process."""

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra import guard
from tests.infra.configs import committed, rendered, run

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An account of nobody's, with a default VPC, and a home for the key that Ray makes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # Ray waits a quarter of a minute for a profile that it has made.
    from ray.autoscaler._private.aws import config

    monkeypatch.setattr(config.time, "sleep", lambda seconds: None)
    with moto.mock_aws():
        yield "us-east-1"


def bootstrapped(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of a config before it launches anything."""
    from ray.autoscaler._private.commands import _bootstrap_config

    made: dict[str, Any] = _bootstrap_config(copy.deepcopy(config), no_config_cache=True)
    return made


def instance(node: dict[str, Any]) -> dict[str, Any]:
    """What RunInstances is sent, as Ray's provider sends it."""
    sent = {key: value for key, value in node.items() if key != "SubnetIds"}
    return sent | {"MinCount": 1, "MaxCount": 1, "SubnetId": node["SubnetIds"][0]}


def test_the_committed_config_launches_as_it_is(region: str) -> None:
    config = bootstrapped(committed("aws"))
    guard.check(config, None)
    ec2 = boto3.client("ec2", region)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    for role, kind in zip(("head", "worker"), config["available_node_types"].values(), strict=True):
        (launched,) = ec2.run_instances(**instance({**kind["node_config"], "ImageId": image}))["Instances"]
        got = ec2.describe_instances(InstanceIds=[launched["InstanceId"]])["Reservations"][0]["Instances"][0]
        tags = {tag["Key"]: tag["Value"] for tag in got["Tags"]}
        assert tags["fifty-role"] == role
        assert (tags["fifty-project"], tags["fifty-cluster"]) == ("fifty", "hand")
        assert got["MetadataOptions"]["HttpTokens"] == "required"
        behaviour = ec2.describe_instance_attribute(
            InstanceId=launched["InstanceId"], Attribute="instanceInitiatedShutdownBehavior"
        )
        assert behaviour["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
        (disk,) = ec2.describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [launched["InstanceId"]]}]
        )["Volumes"]
        assert disk["Encrypted"]
        assert got["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"]
        assert (got.get("InstanceLifecycle") == "spot") is (role == "worker")


def test_what_fifty_renders_is_left_as_it_is(region: str) -> None:
    config = rendered("aws")
    subnets = [subnet["SubnetId"] for subnet in boto3.client("ec2", "eu-west-1").describe_subnets()["Subnets"]][:2]
    vpc = boto3.client("ec2", "eu-west-1").describe_vpcs()["Vpcs"][0]["VpcId"]
    group = boto3.client("ec2", "eu-west-1").create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    for kind in config["available_node_types"].values():
        kind["node_config"] |= {"SubnetIds": subnets, "SecurityGroupIds": [group]}
    made = bootstrapped(config)
    guard.check(made, run("aws"))
    for name, kind in config["available_node_types"].items():
        filled = made["available_node_types"][name]["node_config"]
        assert {key: filled[key] for key in kind["node_config"]} == kind["node_config"]
    # No group, role or key of Ray's own, which would be open to all or allowed everything.
    groups = boto3.client("ec2", "eu-west-1").describe_security_groups()["SecurityGroups"]
    assert not any(found["GroupName"].startswith("ray-") for found in groups)
    assert boto3.client("iam").list_roles()["Roles"] == []
    assert "FullAccess" not in json.dumps(made)


def test_the_head_puts_its_own_image_into_rays_config_and_changes_nothing_else(tmp_path: Path) -> None:
    """The command that does it stands in the config that it changes."""
    config = committed("aws")
    path = tmp_path / "ray_bootstrap_config.yaml"
    path.write_text(json.dumps(config))
    curl = tmp_path / "curl"
    curl.write_text("#!/bin/sh\ncase $* in *api/token*) echo token ;; *ami-id*) echo ami-0123 ;; esac\n")
    curl.chmod(0o755)
    (command,) = [line for line in config["head_start_ray_commands"] if "ami-id" in line]
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run(["bash", "-c", command], env=env, check=True)
    changed = json.loads(path.read_text())
    images = [kind["node_config"].pop("ImageId") for kind in changed["available_node_types"].values()]
    assert set(images) == {"ami-0123"}
    for kind in config["available_node_types"].values():
        assert kind["node_config"].pop("ImageId").startswith("resolve:ssm:/")
    assert changed == config
    curl.write_text("#!/bin/sh\nexit 22\n")
    path.write_text(json.dumps(committed("aws")))
    assert subprocess.run(["bash", "-c", command], env=env, check=False, capture_output=True).returncode
