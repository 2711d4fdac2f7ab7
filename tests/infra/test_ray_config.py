"""What is the same on every cloud: held against Ray's own schema, and its commands run as Ray's launcher runs them."""

import copy
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra import ray_config
from infra.faults import Refused
from infra.settings import CloudConfig
from tests.infra.configs import committed, rendered, run
from tests.infra.nodes import CHECKOUT
from tests.infra.refresh import refreshed

ray_util = pytest.importorskip("ray.autoscaler._private.util")

CONFIGS = {
    "aws": lambda: rendered("aws"),
    "gcp": lambda: rendered("gcp"),
    "aws-on-demand": lambda: rendered("aws", spot=None, gpus=0),
    "aws.yaml": lambda: committed("aws"),
}


@pytest.fixture(params=CONFIGS, ids=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return copy.deepcopy(CONFIGS[request.param]())


def test_rays_own_schema_takes_it(config: dict[str, Any]) -> None:
    prepared = ray_util.prepare_config(config)
    ray_util.validate_config(prepared)
    # Ray's defaults fill what is left out; of ours they may change nothing, and of theirs nothing may be open.
    for key, value in config.items():
        if key not in ("head_setup_commands", "worker_setup_commands", "available_node_types"):
            assert prepared[key] == value
    assert prepared["docker"] == {}
    assert not re.search(r"\b0\.0\.0\.0", json.dumps(prepared))


def test_autoscaler_v2_reads_it_on_the_head(config: dict[str, Any]) -> None:
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

    config["file_mounts"] = {}
    read = AutoscalingConfig(ray_util.prepare_config(config), skip_content_hash=True)
    assert read.get_max_num_worker_nodes() == config["max_workers"]
    assert not read.disable_node_updaters()
    workers = [name for name in config["available_node_types"] if name != config["head_node_type"]]
    for name in workers:
        assert any("setup.sh" in line for line in read.get_worker_setup_commands(name))


def test_what_the_watchdog_takes_away_the_autoscaler_does_without(tmp_path: Path) -> None:
    from ray.autoscaler.v2.instance_manager.config import FileConfigReader

    path = tmp_path / "ray_bootstrap_config.yaml"
    path.write_text(json.dumps(ray_util.prepare_config(rendered("aws") | {"file_mounts": {}})))
    reader = FileConfigReader(str(path))
    assert reader.get_cached_autoscaling_config().get_max_num_nodes() == 4
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_workers": 0}))
    reader.refresh_cached_autoscaling_config()
    assert reader.get_cached_autoscaling_config().get_max_num_nodes() == 1


def test_it_is_plain_data_that_any_yaml_reader_gives_back(config: dict[str, Any]) -> None:
    import yaml

    assert yaml.safe_load(yaml.safe_dump(config)) == config


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_committed_config_says_what_fifty_would_say(cloud: str) -> None:
    text = (CHECKOUT / "infra" / f"{cloud}.yaml").read_text()
    assert text == refreshed(text, cloud), "run python -m tests.infra.refresh"


def test_what_is_no_command_is_the_same_too() -> None:
    config = committed("aws")
    shared = ray_config.shared("fifty-hand", 2, 5, config["file_mounts"], gpu=True)
    assert {key: config[key] for key in shared if not key.endswith("_commands")} == {
        key: value for key, value in shared.items() if not key.endswith("_commands")
    }


def test_the_committed_config_sends_only_what_every_checkout_has() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    for local in committed("aws")["file_mounts"].values():
        name = local.removeprefix("./")
        assert (CHECKOUT / name).exists()
        assert name == "infra" or any(path == name or path.startswith(f"{name}/") for path in tracked)


def test_what_is_sent_is_what_there_is() -> None:
    sent = ray_config.mounts(CHECKOUT)
    assert all(Path(local).exists() for local in sent.values())
    assert not any(part in "".join(sent.values()) for part in (".venv", ".git/", ".fifty"))
    assert sent["~/fifty/uv.lock"] == str(CHECKOUT / "uv.lock")


def test_launched_from_elsewhere_it_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="there is no infra"):
        ray_config.common(run("aws"), CloudConfig(), root=tmp_path)


def test_a_worker_without_a_gpu_is_not_asked_for_one() -> None:
    assert "--gpu" in str(rendered("aws")["worker_setup_commands"])
    assert "--gpu" not in str(rendered("aws", gpus=0)["worker_setup_commands"])
    assert "--gpu" not in str(rendered("aws")["head_setup_commands"])


def test_variables_reach_set_up_ray_and_drivers() -> None:
    config = ray_config.common(run("aws"), CloudConfig(), {"UV_OFFLINE": "it's; 1"}, CHECKOUT)
    quoted = "export UV_OFFLINE='it'\"'\"'s; 1'; "
    assert config["head_setup_commands"][0].startswith(quoted)
    assert quoted in config["head_start_ray_commands"][1]
    assert quoted in config["worker_start_ray_commands"][1]


class Home:
    """A user's home, and the marks of a machine, for commands to be run in as Ray's launcher runs them over SSH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("home/fifty/.venv/bin", "state/marks", "opt"):
            (folder / name).mkdir(parents=True)
        (folder / "state/booted").write_text("1795700000\n")
        (folder / "opt/deadman").touch()
        ray = folder / "home/fifty/.venv/bin/ray"
        ray.write_text('#!/bin/sh\nenv | grep -E "^RAY_" | sort >$HOME/env; echo "$@" >$HOME/asked\n')
        ray.chmod(0o755)

    def run(self, command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        here = command.replace("/var/lib/fifty", f"{self.folder}/state").replace("/opt/fifty", f"{self.folder}/opt")
        exported = "".join(f"export {name}={value}; " for name, value in variables.items())
        line = f"source ~/.bashrc; export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && ({exported}{here})"
        environment = {"HOME": str(self.folder / "home"), "PATH": os.environ["PATH"]}
        (self.folder / "home/.bashrc").touch()
        return subprocess.run(
            ["bash", "--login", "-c", line],
            env=environment,
            cwd=self.folder / "home",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def common() -> dict[str, Any]:
    return ray_config.common(run("aws"), CloudConfig(), root=CHECKOUT)


def test_the_token_is_made_on_the_head_once_and_closed_to_others(home: Home, common: dict[str, Any]) -> None:
    for _ in range(2):
        assert home.run(common["head_setup_commands"][1]).returncode == 0
        token = home.folder / "home/.ray/auth_token"
        assert re.fullmatch(r"[0-9a-f]{64}", token.read_text())
        assert token.stat().st_mode & 0o777 == 0o600
        first = token.read_text()
    assert token.read_text() == first
    assert home.read("home/.fifty_launched") == "1795700000\n"


def test_the_first_command_learns_who_the_head_is(home: Home, common: dict[str, Any]) -> None:
    command = common["initialization_commands"][0]
    assert home.run(command).returncode == 0
    assert not (home.folder / "state/marks/head").exists()
    (home.folder / "home/.fifty_launched").write_text("1795690000\n")
    assert home.run(command, RAY_HEAD_IP="10.0.0.5").returncode == 0
    assert home.read("state/marks/head") == "10.0.0.5\n"
    assert home.read("state/marks/launched") == "1795690000\n"


def test_a_machine_without_the_switch_is_not_set_up(home: Home, common: dict[str, Any]) -> None:
    (home.folder / "opt/deadman").unlink()
    done = home.run(common["initialization_commands"][0].replace("sleep 2", "sleep 0"))
    assert done.returncode == 1
    assert "fifty: this machine has no dead-man switch" in done.stderr


def test_every_login_has_the_variables(home: Home, common: dict[str, Any]) -> None:
    for _ in range(2):
        assert home.run(common["head_setup_commands"][2]).returncode == 0
    assert home.read("home/.bashrc").count("fifty_env") == 1
    shown = home.run("env").stdout
    assert "RAY_grpc_client_keepalive_time_ms=5000" in shown
    assert "RAY_AUTH_MODE=token" in shown


@pytest.mark.parametrize(("kind", "price"), [("worker-spot", "0.1578"), ("worker", "0.587")])
def test_a_worker_bears_its_price_and_its_variables(home: Home, common: dict[str, Any], kind: str, price: str) -> None:
    command = common["worker_start_ray_commands"][1]
    assert home.run(command, RAY_HEAD_IP="10.0.0.5", RAY_NODE_TYPE_NAME=kind).returncode == 0
    asked = home.read("home/asked")
    assert f"--labels=fifty-price={price}\n" in asked
    assert "--address=10.0.0.5:6379" in asked
    assert set(ray_config.ENVIRONMENT) <= {line.partition("=")[0] for line in home.read("home/env").splitlines()}
    assert (home.folder / "state/marks/ready").exists()
    assert not (home.folder / "state/marks/launched").exists()


def test_a_worker_whose_ray_does_not_start_is_not_ready(home: Home, common: dict[str, Any]) -> None:
    (home.folder / "home/fifty/.venv/bin/ray").write_text("#!/bin/sh\nexit 1\n")
    done = home.run(common["worker_start_ray_commands"][1], RAY_HEAD_IP="10.0.0.5", RAY_NODE_TYPE_NAME="worker")
    assert done.returncode == 1
    assert not (home.folder / "state/marks/ready").exists()


def test_the_head_starts_closed_and_impatient_and_says_when_it_is_ready(home: Home, common: dict[str, Any]) -> None:
    _, start, _, ready = common["head_start_ray_commands"]
    assert home.run(start, RAY_NODE_TYPE_NAME="head").returncode == 0
    asked = home.read("home/asked")
    assert "--dashboard-host=127.0.0.1" in asked
    assert "--labels=fifty-price=0.0912" in asked
    assert {*ray_config.ENVIRONMENT, "RAY_AUTOSCALER_RECONCILE_ALLOCATE_STATUS_TIMEOUT_S"} <= {
        line.partition("=")[0] for line in home.read("home/env").splitlines()
    }
    assert home.run(ready).returncode == 0
    assert home.read("state/marks/launched") == "1795700000\n"


def test_mlflow_listens_on_loopback_and_counts_as_no_work(home: Home, common: dict[str, Any]) -> None:
    python = home.folder / "home/fifty/.venv/bin/python"
    python.write_text(
        '#!/bin/sh\necho "$@ $FIFTY_SERVICE" >$HOME/mlflow.part; mv $HOME/mlflow.part $HOME/mlflow.asked\n'
    )
    python.chmod(0o755)
    command = common["head_start_ray_commands"][2].removesuffix("&") + "; wait"
    assert home.run(command).returncode == 0
    assert home.read("home/mlflow.asked") == "-m pipelines.ui --port 5000 1\n"
    assert (CHECKOUT / "pipelines/ui.py").read_text().count('HOST = "127.0.0.1"') == 1


def test_launched_by_hand_workers_get_the_heads_image(home: Home) -> None:
    curl = home.folder / "home/curl"
    curl.write_text('#!/bin/sh\ncase "$*" in *PUT*) echo token;; *"token: token"*) echo ami-0abc;; esac\n')
    curl.chmod(0o755)
    config = home.folder / "home/ray_bootstrap_config.yaml"
    image = committed("aws")["available_node_types"]["worker"]["node_config"]["ImageId"]
    config.write_text(json.dumps({"ImageId": image, "other": 1}))
    assert home.run(f'PATH="$HOME:$PATH"; {ray_config.PINNED}').returncode == 0
    assert json.loads(config.read_text()) == {"ImageId": "ami-0abc", "other": 1}


def test_ray_takes_the_label_and_gives_it_back() -> None:
    from ray._private.label_utils import parse_node_labels_string

    assert parse_node_labels_string(f"fifty-price={ray_config.dollars(0.1578)}") == {"fifty-price": "0.1578"}
    assert [ray_config.dollars(price) for price in (0.5, 12.0, 0.0)] == ["0.5", "12", "0"]
