"""Ctrl-C, SIGTERM and `kill -9`: the outs stay as they were, the exit code says so, and the next run goes on."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.slow

Kill = Callable[["subprocess.Popen[str]", int], str]


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder, hidden ones included."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def journal_lines(checkout: Checkout, event: str) -> int:
    """How many events of a kind the journals of the outbox hold by now."""
    texts = [path.read_text() for path in (checkout.root / ".fifty" / "outbox").glob("*/journal.jsonl")]
    return sum(f'"event": "{event}"' in line for text in texts for line in text.splitlines())


def of_session(leader: int) -> list[str]:
    """What still runs of all that a session's leader has started, whoever its parent is by now."""
    listing = subprocess.check_output(["ps", "-eo", "sid=,stat=,args="], text=True)
    lines = [line.split(maxsplit=2) for line in listing.splitlines()]
    return [args for session, state, args in lines if int(session) == leader and not state.startswith("Z")]


def test_a_terminated_search_fails_and_leaves_its_outs(checkout: Checkout) -> None:
    checkout.edit("search: {trials: 3, epochs: 2,", "search: {trials: 3, epochs: 2000,")
    before = contents(checkout.root / "results")
    process = checkout.start(sys.executable, "-m", "pipelines.search", "digits-mlp")
    wait_for(lambda: journal_lines(checkout, "metrics") > 3)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 143, output
    assert "stopped by SIGTERM" in output
    assert "dvc repro" in output
    assert "Traceback" not in output
    assert contents(checkout.root / "results") == before


def test_sigterm_to_the_whole_group_ends_the_search_and_all_of_ray(checkout: Checkout, kill_group: Kill) -> None:
    """As `timeout`, systemd and Slurm do; Ray's servers die of it too, which is no reason to begin anew."""
    checkout.edit("search: {trials: 3, epochs: 2,", "search: {trials: 3, epochs: 2000,")
    before = contents(checkout.root / "results")
    process = checkout.start(sys.executable, "-m", "pipelines.search", "digits-mlp")
    wait_for(lambda: any(args.startswith("ray::ImplicitFunc") for args in of_session(process.pid)))
    wait_for(lambda: journal_lines(checkout, "metrics") > 3)
    output = kill_group(process, signal.SIGTERM)
    assert process.returncode == 143, output
    assert output.count("stopped by SIGTERM") == 1
    assert "dvc repro" in output
    assert "going on from" not in output
    assert "Traceback" not in output
    assert contents(checkout.root / "results") == before
    wait_for(lambda: not of_session(process.pid))


def test_ctrl_c_in_dvc_repro_commits_nothing(checkout: Checkout, kill_group: Kill) -> None:
    checkout.edit("search: {trials: 3, epochs: 2,", "search: {trials: 3, epochs: 2000,")
    lock = (checkout.root / "dvc.lock").read_text()
    before = contents(checkout.root / "results")
    process = checkout.start("dvc", "repro", "search@digits-mlp")
    wait_for(lambda: journal_lines(checkout, "metrics") > 3)
    output = kill_group(process, signal.SIGINT)
    assert process.returncode != 0
    assert "search@digits-mlp: stopped by SIGINT" in output
    assert "Traceback" not in output
    assert (checkout.root / "dvc.lock").read_text() == lock
    assert contents(checkout.root / "results") == before


def test_a_killed_search_leaves_whole_outs_and_no_ray(checkout: Checkout) -> None:
    checkout.edit("search: {trials: 3, epochs: 2,", "search: {trials: 3, epochs: 2000,")
    out = checkout.root / "results" / "digits-mlp" / "search"
    before = contents(out)
    process = checkout.start(sys.executable, "-m", "pipelines.search", "digits-mlp")
    wait_for(lambda: journal_lines(checkout, "metrics") > 3)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=240)
    assert contents(out) == before
    # Ray notices by itself that its driver is gone.
    wait_for(lambda: f"fifty-{process.pid}-" not in subprocess.check_output(["ps", "-eo", "args"], text=True))
    checkout.edit("epochs: 2000,", "epochs: 2,")
    checkout.stage("search", "digits-mlp")
    assert not list(out.parent.glob(".search*"))
    assert not list(Path("/tmp").glob(f"fifty-{process.pid}-*"))
    assert contents(out)["trials.parquet"] == before["trials.parquet"]


def test_a_killed_training_ends_in_the_same_weights(checkout: Checkout) -> None:
    checkout.edit("train: {epochs: 3}", "train: {epochs: 400, patience: 400}")
    checkout.stage("train", "digits-mlp")
    out = checkout.root / "models" / "digits-mlp"
    undisturbed = contents(out)
    state = checkout.root / ".fifty" / "train"
    assert not list(state.rglob("*.ckpt"))
    process = checkout.start(sys.executable, "-m", "pipelines.train", "digits-mlp")
    wait_for(lambda: bool(list(state.rglob("*.ckpt"))))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=240)
    assert contents(out) == undisturbed
    output = checkout.stage("train", "digits-mlp")
    resumed = contents(out)
    assert "400 epochs" in output
    for name in ("weights.safetensors", "history.csv"):
        assert resumed[name] == undisturbed[name]
    events = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    steps = [event["step"] for event in events if event["event"] == "metrics" and "lr" in event["metrics"]]
    assert sorted(steps) == list(range(1, 401))
    assert not list(state.rglob("*.ckpt"))


def test_an_unwritable_folder_is_one_sentence(checkout: Checkout) -> None:
    before = contents(checkout.root / "models")
    (checkout.root / "models" / ".digits-mlp.new").write_text("a file where a folder must be")
    target = checkout.root / "models"
    if os.geteuid() == 0:  # root may write anywhere; a file in the way of the folder stands in for it
        target.rename(checkout.root / "elsewhere")
        target.write_text("not a folder")
        output = checkout.stage("train", "digits-mlp", code=1)
        target.unlink()
        (checkout.root / "elsewhere").rename(target)
    else:
        target.chmod(0o555)
        output = checkout.stage("train", "digits-mlp", code=1)
        target.chmod(0o755)
    assert "Traceback" not in output
    assert "Its outs are as they were" in output
    (checkout.root / "models" / ".digits-mlp.new").unlink()
    assert contents(checkout.root / "models") == before
