"""The stages of one `dvc repro` are forked from a process that has torch loaded: the same bytes, signals and codes."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from pipelines import fork_server
from tests.e2e.conftest import Checkout
from tests.e2e.test_interruptions import contents, of_session, wait_for

pytestmark = pytest.mark.slow


def processes(text: str) -> list[int]:
    """Processes whose command line holds `text`."""
    listing = subprocess.check_output(["ps", "-eo", "pid=,stat=,args="], text=True)
    lines = [line.split(maxsplit=2) for line in listing.splitlines()]
    return [int(pid) for pid, state, args in lines if text in args and not state.startswith("Z")]


def test_a_fork_writes_the_bytes_that_a_process_of_its_own_writes(checkout: Checkout) -> None:
    out = checkout.root / "models" / "digits-mlp"
    checkout.stage("train", "digits-mlp")
    alone = contents(out)
    output = checkout.run("dvc", "repro", "-f", "-s", "train@digits-mlp", "evaluate@digits-mlp")
    assert output.count("train@digits-mlp: 3 epochs") == 1
    assert "evaluate@digits-mlp: test accuracy" in output
    for name in ("weights.safetensors", "history.csv"):
        assert contents(out)[name] == alone[name]
    folder = checkout.root / fork_server.FOLDER
    assert folder.stat().st_mode & 0o077 == 0
    wait_for(lambda: not list(folder.iterdir()), 20)


def test_a_killed_stage_ends_its_fork_and_so_does_a_killed_dvc(checkout: Checkout) -> None:
    checkout.edit("train: {epochs: 3}", "train: {epochs: 4000, patience: 4000}")
    state = checkout.root / ".fifty" / "train"
    process = checkout.start("dvc", "repro", "-s", "train@digits-mlp")
    wait_for(lambda: bool(list(state.rglob("*.ckpt"))))
    stage = [pid for pid in processes("-m pipelines.train digits-mlp") if os.getsid(pid) == process.pid]
    assert stage, "the stage's own process waits for its fork"
    for pid in stage:
        os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0, output
    wait_for(lambda: not of_session(process.pid), 30)

    process = checkout.start("dvc", "repro", "-s", "train@digits-mlp")
    before = max(path.stat().st_mtime_ns for path in state.rglob("*.ckpt"))
    wait_for(lambda: max(path.stat().st_mtime_ns for path in state.rglob("*.ckpt")) > before)
    os.kill(process.pid, signal.SIGKILL)
    for pid in [pid for pid in processes("-m pipelines.train digits-mlp") if os.getsid(pid) == process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=240)
    wait_for(lambda: not of_session(process.pid), 30)


def test_a_fork_hands_on_its_exit_code(checkout: Checkout) -> None:
    (checkout.root / "results" / "digits-mlp" / "search" / "best.yaml").write_text("not: what it should be\n")
    done = subprocess.run(
        ["dvc", "repro", "-f", "-s", "train@digits-mlp"],
        cwd=checkout.root, env=checkout.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "exited with" in done.stderr


def test_nobody_else_may_offer_a_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever could write into the folder could take a stage's environment, and its place."""
    fork_server.FOLDER.mkdir(parents=True)
    fork_server.FOLDER.chmod(0o777)
    monkeypatch.setenv("DVC_STAGE", "train@digits-mlp")
    assert fork_server.run("pipelines.train") is None
    assert not list(fork_server.FOLDER.iterdir())


def test_by_hand_there_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert fork_server.run("pipelines.train") is None
    assert not fork_server.FOLDER.exists()


def test_a_forked_search_whose_raylet_dies_begins_again(checkout: Checkout) -> None:
    """It runs its own command again, not that of the process it was forked from."""
    checkout.edit("trials: 3, epochs: 2", "trials: 3, epochs: 1500")
    process = checkout.start("dvc", "repro", "search@digits-mlp")

    def raylets() -> list[psutil.Process]:
        named = [one for one in psutil.process_iter(["name"]) if one.info["name"] == "raylet"]
        return [one for one in named if one.is_running() and os.getsid(one.pid) == process.pid]

    def training() -> bool:
        names = [one.info["name"] for one in psutil.process_iter(["name"]) if os.getsid(one.pid) == process.pid]
        return any(name.startswith("ray::ImplicitFunc") for name in names)

    wait_for(training)
    for raylet in raylets():
        raylet.kill()
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "going on from the last checkpoints (restart 1 of 3)" in output
    assert "3 trials, best is trial" in output
    wait_for(lambda: not of_session(process.pid), 30)
