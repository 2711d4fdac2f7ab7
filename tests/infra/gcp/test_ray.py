"""Ray's own, unmodified launcher and GCP provider against the double, with our config: what we set passes through."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.faults import NoCapacity
from infra.gcp import Gcp
from infra.launcher import RayUp
from tests.conftest import ROOT
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import ZONE, a_run, make
from tests.infra.gcp.standins import silent_ssh

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_checkout")]
Json = dict[str, Any]
RAY_ACCOUNT = f"ray-autoscaler-sa-v1@{PROJECT}.iam.gserviceaccount.com"


@pytest.fixture
def in_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The config says what of the working folder is sent; what is launched is remembered elsewhere."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / ".fifty" / "cloud").mkdir(parents=True)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return silent_ssh(tmp_path / "bin", monkeypatch)


def rendered(gcp: Gcp, folder: Path) -> tuple[Json, Path]:
    run = a_run()
    key = folder / "main.pem"
    key.write_text("none\n")
    config = gcp.cluster_config(run, make(gcp, run), key)
    path = folder / "main.yaml"
    path.write_text(json.dumps(config))
    return config, path


def through_ray(body: Json) -> Json:
    """The body that we wrote, from what Ray made of it: full names, labels of its own, a name."""
    kept = {key: value for key, value in body.items() if key != "name"}
    kept["machineType"] = body["machineType"].rsplit("/")[-1]
    kept["labels"] = {name: value for name, value in body["labels"].items() if not name.startswith("ray-")}
    for gpu in kept.get("guestAccelerators", []):
        gpu["acceleratorType"] = gpu["acceleratorType"].rsplit("/")[-1]
    return kept


def test_ray_up_launches_the_head_as_it_is_written(gcp: Gcp, double: Double, ssh: Path, tmp_path: Path) -> None:
    config, path = rendered(gcp, tmp_path)
    said: list[str] = []
    RayUp()(path, tmp_path / "main.log", said.append)
    (body,) = double.bodies("compute.instances.insert")
    assert through_ray(body) == config["available_node_types"]["head"]["node_config"]
    assert any("up-to-date" in line for line in said)
    assert "ray start --head" in ssh.read_text()
    (node,) = gcp.inventory().nodes
    assert (node.role, node.state, node.price, node.region) == ("head", "running", 0.067, ZONE)
    # Ray has given its account every right, and nobody can be that account.
    assert double.accounts.may(RAY_ACCOUNT)
    assert double.accounts.accounts[RAY_ACCOUNT]["disabled"] is True
    # It has touched neither the project's keys nor its firewall.
    assert not {"compute.projects.setCommonInstanceMetadata"} & double.count().keys()
    assert double.count()["compute.firewalls.insert"] == 2


def test_rays_provider_launches_workers_as_they_are_written(gcp: Gcp, double: Double, tmp_path: Path) -> None:
    config, path = rendered(gcp, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.infra.gcp.workers", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    made, left = json.loads(done.stdout)
    spot, on_demand = double.bodies("compute.instances.insert")
    assert through_ray(spot) == config["available_node_types"]["worker-spot"]["node_config"]
    assert through_ray(on_demand) == config["available_node_types"]["worker"]["node_config"]
    assert left == made[:1]
    (node,) = gcp.inventory().nodes
    assert (node.id, node.role, node.spot, node.machine) == (made[0], "worker", True, "n1-standard-4+nvidia-tesla-t4")
    double.compute.preempt(node.id)
    assert gcp.inventory().nodes == ()
    assert not [thing for thing in double.left() if thing.startswith(("instances/", "disks/"))]


def test_a_machine_that_there_is_none_of_is_told_in_a_sentence(
    gcp: Gcp, double: Double, ssh: Path, tmp_path: Path
) -> None:
    _, path = rendered(gcp, tmp_path)
    double.fail_operation("compute.instances.insert", "ZONE_RESOURCE_POOL_EXHAUSTED", "The zone has not enough of it.")
    log = tmp_path / "main.log"
    with pytest.raises(NoCapacity, match="ZONE_RESOURCE_POOL_EXHAUSTED"):
        RayUp()(path, log, print)
    assert gcp.inventory().nodes == ()


def test_the_committed_config_launches_once_it_is_filled_in(double: Double, ssh: Path, tmp_path: Path) -> None:
    """As its comments tell: project, account, and nothing else."""
    text = (ROOT / "infra" / "gcp.yaml").read_text()
    path = tmp_path / "hand.yaml"
    path.write_text(text.replace("YOUR-PROJECT", PROJECT).replace(": ./", f": {ROOT}/"))
    account = {"accountId": "fifty-hand", "serviceAccount": {"displayName": "by hand"}}
    double.accounts.iam_projects_serviceAccounts_create({}, account)
    # Ray makes an SSH key of its own, and keeps it in the home folder.
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("ray")), "up", "--yes", "--no-config-cache", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (body,) = double.bodies("compute.instances.insert")
    assert body["scheduling"]["maxRunDuration"] == {"seconds": 14400}
    assert body["serviceAccounts"][0]["scopes"] == ["https://www.googleapis.com/auth/compute"]
    (machine,) = double.compute.of("instances").values()
    assert machine["status"] == "RUNNING"


def test_the_committed_config_launches_nothing_before(double: Double, ssh: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("ray")), "up", "--yes", "--no-config-cache", "infra/gcp.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode != 0
    assert double.left() == []
