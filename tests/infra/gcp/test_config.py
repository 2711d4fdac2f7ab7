"""What is rendered for Ray's GCP provider: every safety stands in the call that creates a machine."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra import guard
from infra.cluster import Role
from infra.gcp import Gcp, config
from infra.settings import CloudConfig
from tests.infra.gcp.discovery import find
from tests.infra.gcp.made import HEAD, L4, PUBLIC_KEY, T4, ZONE, a_run

Json = dict[str, Any]
MADE = {
    "key": PUBLIC_KEY,
    "subnetwork": "projects/fifty-test/regions/us-central1/subnetworks/fifty-main-0123abcd",
    "head-account": "fifty-main-0123a-h@fifty-test.iam.gserviceaccount.com",
    "worker-account": "fifty-main-0123a-w@fifty-test.iam.gserviceaccount.com",
}
KEY = Path("/nowhere/main.pem")


def render(run: Any = None, **settings: Any) -> Json:
    return Gcp(CloudConfig(**settings)).cluster_config(run or a_run(), MADE, KEY)


def bodies(rendered: Json) -> Iterator[Json]:
    for kind in rendered["available_node_types"].values():
        yield kind["node_config"]


def test_it_passes_the_guard() -> None:
    run = a_run()
    guard.check(render(run), run)


def test_projects_in_one_of_googles_do_not_share_rays_name() -> None:
    run = a_run()
    assert render(run)["cluster_name"] != render(replace(run, project="other"))["cluster_name"]


def test_it_asks_google_nothing() -> None:
    """There are no credentials here, nor a network."""
    assert render()["provider"]["project_id"] == "fifty-test"


@pytest.mark.parametrize("worker", [HEAD, T4, L4])
@pytest.mark.parametrize("spot", [False, True])
def test_compute_engine_understands_every_machine(worker: Any, spot: bool) -> None:
    found = find("compute.googleapis.com", "POST", "/compute/v1/projects/p/zones/z/instances")
    assert found
    for body in bodies(render(a_run(worker=worker, spot=spot))):
        assert found[0].problems({}, body) == []


def test_the_platform_deletes_every_machine_at_the_absolute_deadline() -> None:
    run = a_run(hours=3)
    for body in bodies(render(run)):
        plan = body["scheduling"]
        assert datetime.fromisoformat(plan["terminationTime"]) == run.deadline
        assert plan["terminationTime"].endswith("Z")
        assert (plan["instanceTerminationAction"], plan["automaticRestart"]) == ("DELETE", False)
        assert "maxRunDuration" not in plan


@pytest.mark.parametrize(
    ("spot", "fallback", "kinds"),
    [
        (True, True, {"worker-spot": "SPOT", "worker": "STANDARD"}),
        (True, False, {"worker-spot": "SPOT"}),
        (False, True, {"worker": "STANDARD"}),
    ],
)
def test_spot_with_fallback_by_parameter(spot: bool, fallback: bool, kinds: Json) -> None:
    types = render(a_run(spot=spot), fallback=fallback)["available_node_types"]
    assert types["head"]["node_config"]["scheduling"]["provisioningModel"] == "STANDARD"
    workers = {name: kind for name, kind in types.items() if name != "head"}
    assert {name: kind["node_config"]["scheduling"]["provisioningModel"] for name, kind in workers.items()} == kinds
    assert all(kind["min_workers"] == 0 and kind["max_workers"] == 2 for kind in workers.values())


@pytest.mark.parametrize(("name", "price"), [("head", "67000"), ("worker-spot", "167500"), ("worker", "540000")])
def test_labels_tell_whose_a_machine_is_and_what_it_costs(name: str, price: str) -> None:
    run = a_run()
    body = render(run)["available_node_types"][name]["node_config"]
    role: Role = "head" if name == "head" else "worker"
    assert body["labels"] == {**run.tags(), "fifty-role": role, "fifty-price": price}
    (disk,) = body["disks"]
    assert disk["initializeParams"]["labels"] == run.tags()
    assert (disk["autoDelete"], disk["boot"], disk["initializeParams"]["sourceImage"]) == (True, True, run.image)


def test_only_one_key_opens_a_machine() -> None:
    for body in bodies(render()):
        items = {item["key"]: item["value"] for item in body["metadata"]["items"]}
        assert items["ssh-keys"] == f"ubuntu:{PUBLIC_KEY}"
        assert items["block-project-ssh-keys"] == "TRUE"
        assert items["enable-oslogin"] == "FALSE"
        assert items["startup-script"].startswith("#!/bin/bash\n")


def test_rights_are_small() -> None:
    types = render()["available_node_types"]
    for name, kind in types.items():
        (account,) = kind["node_config"]["serviceAccounts"]
        assert account["scopes"] == ["https://www.googleapis.com/auth/compute"]
        assert account["email"] == MADE["head-account" if name == "head" else "worker-account"]


def test_gpus_are_attached_where_they_are_no_part_of_the_machine() -> None:
    t4 = render()["available_node_types"]["worker"]["node_config"]
    assert t4["machineType"] == "n1-standard-4"
    assert t4["guestAccelerators"] == [{"acceleratorType": "nvidia-tesla-t4", "acceleratorCount": 1}]
    l4 = render(a_run(worker=L4))["available_node_types"]["worker"]["node_config"]
    assert l4["machineType"] == "g2-standard-4"
    assert "guestAccelerators" not in l4


def test_secure_boot_where_the_drivers_are_signed() -> None:
    (first, *_) = bodies(render())
    assert first["shieldedInstanceConfig"]["enableSecureBoot"] is True
    (first, *_) = bodies(render(a_run(image="projects/deeplearning-platform-release/global/images/x")))
    assert first["shieldedInstanceConfig"]["enableSecureBoot"] is False


@settings(max_examples=25, deadline=None)
@given(hours=st.floats(0.1, 168), workers=st.integers(1, 1000), spot=st.booleans(), fallback=st.booleans())
def test_whatever_is_asked_for_passes_the_guard(hours: float, workers: int, spot: bool, fallback: bool) -> None:
    run = a_run(hours, spot=spot)
    guard.check(config.render(run, CloudConfig(workers=workers, fallback=fallback), MADE, KEY), run)


def test_the_zone_is_a_region_and_a_zone() -> None:
    provider = render()["provider"]
    assert (provider["region"], provider["availability_zone"]) == ("us-central1", ZONE)
    assert provider["cache_stopped_nodes"] is False
