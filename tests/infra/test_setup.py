"""The set-up of a machine, its script run in a home of its own: what it installs, and what it says when it fails."""

import os
import subprocess
from pathlib import Path

import pytest

from infra.userdata import NodeFacts, facts_json
from tests.infra.configs import run
from tests.infra.nodes import CHECKOUT


class Home:
    """A user's home with the project in it, and the machine's marks; `uv`, `sudo` and the rest are stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("home/fifty/infra", "state/marks", "opt", "bin"):
            (folder / name).mkdir(parents=True)
        self.project = folder / "home/fifty"
        (self.project / "infra/node").symlink_to(CHECKOUT / "infra/node")
        deadline = run("aws").deadline
        facts = NodeFacts("aws", "eu-west-1", "fifty", "main", "r", "worker", deadline, 10.0)
        (folder / "opt/node.json").write_text(facts_json(facts))
        # `uv sync` makes an environment; its Python notes what it is asked, and knows of no GPU.
        self.stand_in("uv", 'echo "uv $*" >>$LOG; mkdir -p .venv/bin; cp $STANDIN .venv/bin/python')
        self.stand_in(
            "python",
            'echo "python $*" >>$LOG; case "$*" in *torch*) exit $NO_GPU;; *install*) echo "echo installed";; esac',
        )
        self.stand_in("sudo", 'echo "sudo $*" >>$LOG; exec "$@"')
        self.stand_in("nvidia-smi", "echo nvidia-smi: command not found; exit 127")

    def stand_in(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def set_up(self, *arguments: str, gpu: bool = True, **variables: str) -> "subprocess.CompletedProcess[str]":
        environment = {
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "LOG": str(self.folder / "log"),
            "STANDIN": str(self.folder / "bin/python"),
            "NO_GPU": "0" if gpu else "3",
            "FIFTY_HOME": str(self.folder / "opt"),
            "FIFTY_STATE": str(self.folder / "state"),
            **variables,
        }
        # As on a machine: the script is in the project that was sent, and `..` leads to it.
        script = self.project / "infra/setup/setup.sh"
        script.parent.mkdir(exist_ok=True)
        script.write_text((CHECKOUT / "infra/node/setup.sh").read_text())
        return subprocess.run(
            ["bash", str(script), *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()

    @property
    def failed(self) -> str:
        path = self.folder / "state/marks/failed"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_environment_is_what_the_lock_names_compiled(home: Home) -> None:
    done = home.set_up()
    assert done.returncode == 0, done.stderr
    assert home.log[0] == "uv sync --quiet --locked --no-dev --compile-bytecode"
    assert {"python -m infra.userdata install aws", "sudo bash"} <= set(home.log)
    assert home.failed == ""


def test_the_watchdog_is_installed_once(home: Home) -> None:
    (home.folder / "opt/watchdog").touch()
    assert home.set_up().returncode == 0
    assert not any("sudo" in line for line in home.log)


def test_a_gpu_that_torch_cannot_see_fails_the_set_up_in_one_sentence(home: Home) -> None:
    done = home.set_up("--gpu", gpu=False)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith("fifty: the set-up failed while looking for the GPU: torch sees no GPU on this machine")
    assert "nvidia-smi: command not found" in said
    assert home.failed == f"{said}\n"


def test_a_gpu_that_is_there_is_no_fault_and_without_the_flag_nobody_looks(home: Home) -> None:
    assert home.set_up("--gpu").returncode == 0
    assert home.set_up(gpu=False).returncode == 0


def test_a_lock_that_does_not_fit_is_said(home: Home) -> None:
    home.stand_in("uv", "echo the lock file is out of date >&2; exit 2")
    done = home.set_up()
    assert done.returncode == 1
    assert "the lock file is out of date" in done.stderr
    assert "fifty: the set-up failed while installing what uv.lock names (uv sync --locked --no-dev)" in done.stderr
    assert "uv.lock" in home.failed


def test_a_set_up_that_succeeds_at_last_has_not_failed(home: Home) -> None:
    home.set_up("--gpu", gpu=False)
    assert home.failed
    assert home.set_up("--gpu").returncode == 0
    assert home.failed == ""


def test_what_fails_within_a_function_is_said_too(home: Home) -> None:
    (home.folder / "bin/uv").unlink()
    for name in ("python3", "apt-get"):
        home.stand_in(name, "exit 1")
    done = home.set_up(PATH=f"{home.folder}/bin:/usr/bin:/bin")
    assert done.returncode == 1
    assert "fifty: the set-up failed while installing uv" in done.stderr


def test_an_environment_that_is_there_is_taken_as_it_is(home: Home) -> None:
    """As in an image of one's own, or on a pretended machine, where it is shared and must not be changed."""
    there = home.folder / "there"
    (there / "bin").mkdir(parents=True)
    (there / "bin/python").symlink_to(home.folder / "bin/python")
    assert home.set_up("--gpu", gpu=False, FIFTY_VENV=str(there), FIFTY_PRETENDED="1").returncode == 0
    assert (home.project / ".venv").readlink() == there
    assert not any(line.startswith("uv") for line in home.log)
