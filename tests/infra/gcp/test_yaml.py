"""infra/gcp.yaml, which `ray up` takes as it is: held to what `fifty` renders and to all that it demands."""

from datetime import timedelta
from typing import Any

import pytest

from infra import guard, ray_config, userdata
from tests.infra.configs import committed
from tests.infra.gcp.discovery import find
from tests.infra.gcp.made import ZONE

Json = dict[str, Any]


@pytest.fixture(scope="module")
def config() -> Json:
    return committed("gcp")


def test_it_passes_the_guard(config: Json) -> None:
    guard.check(config, None)


@pytest.mark.parametrize("name", ["head", "worker"])
def test_compute_engine_understands_it(config: Json, name: str) -> None:
    found = find("compute.googleapis.com", "POST", "/compute/v1/projects/p/zones/z/instances")
    assert found
    assert found[0].problems({}, config["available_node_types"][name]["node_config"]) == []


@pytest.mark.parametrize("name", ["head", "worker"])
def test_its_script_is_the_one_that_is_printed_but_for_the_zone(config: Json, name: str) -> None:
    items = config["available_node_types"][name]["node_config"]["metadata"]["items"]
    script = next(item["value"] for item in items if item["key"] == "startup-script")
    role: Any = name
    printed = userdata.by_hand(role, "gcp").replace('"region": ""', f'"region": "{ZONE}"')
    assert script.strip() == printed.strip()
    assert config["provider"]["availability_zone"] == ZONE


def test_commands_are_the_ones_that_are_rendered(config: Json) -> None:
    mounts = dict(config["file_mounts"])
    shared = ray_config.shared("fifty-hand", 2, 5, mounts, gpu=True)
    for key, value in shared.items():
        expected = [" ".join(line.split()) for line in value] if key.endswith("_commands") else value
        given = [" ".join(line.split()) for line in config[key]] if key.endswith("_commands") else config[key]
        assert given == expected, key
    assert set(ray_config.NEEDED) <= {target.removeprefix("~/fifty/") for target in mounts}


def test_ssh_is_closed_until_an_address_is_filled_in(config: Json) -> None:
    for kind in config["available_node_types"].values():
        script = next(i["value"] for i in kind["node_config"]["metadata"]["items"] if i["key"] == "startup-script")
        assert "\nssh_from=\n" in script


def test_the_platform_counts_from_the_launch_and_deletes(config: Json) -> None:
    for kind in config["available_node_types"].values():
        plan = kind["node_config"]["scheduling"]
        assert plan["instanceTerminationAction"] == "DELETE"
        assert timedelta(seconds=plan["maxRunDuration"]["seconds"]) == timedelta(hours=4)
        assert all(disk["autoDelete"] for disk in kind["node_config"]["disks"])
    worker = config["available_node_types"]["worker"]["node_config"]
    assert worker["scheduling"]["provisioningModel"] == "SPOT"
