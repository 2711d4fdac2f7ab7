"""Kills a search at random moments and compares what it ends with to an undisturbed one.

python -m tests.e2e.chaos --kills 20 --trials 64        # the nightly form, some minutes
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
from mlflow import MlflowClient

from tests.e2e.conftest import Checkout, make_checkout

KINDS = ("everything", "driver", "worker", "raylet", "gcs_server")
TABLES = ("trials.parquet", "history.parquet", "best.yaml", "winner.safetensors")
COMMAND = (sys.executable, "-m", "pipelines.search", "digits-mlp")
SEARCH = "search: {trials: 3, epochs: 2, space: {lr: {loguniform: [0.001, 0.01]}, dropout: {uniform: [0.0, 0.3]}}}"


def configure(checkout: Checkout, trials: int, epochs: int) -> None:
    """Make the search one that takes some seconds: fused cohorts, rungs, and two workers."""
    space = "space: {lr: {loguniform: [0.001, 0.1]}, dropout: {uniform: [0.0, 0.3]}}}"
    checkout.edit(
        SEARCH,
        f"search: {{trials: {trials}, epochs: {epochs}, K: 4, scheduler: halving, rungs: [{epochs // 3}], {space}",
    )


def tables(checkout: Checkout) -> dict[str, bytes]:
    """What must be the same bytes."""
    folder = checkout.root / "results" / "digits-mlp" / "search"
    return {name: (folder / name).read_bytes() for name in TABLES}


def kill(process: "subprocess.Popen[str]", kind: str, rng: random.Random) -> bool:
    """Kill one of the search's processes, or all; say whether the search itself is dead now."""
    children = psutil.Process(process.pid).children(recursive=True)
    doomed = {
        "everything": [psutil.Process(process.pid), *children],
        "driver": [psutil.Process(process.pid)],
        "worker": [child for child in children if _name(child).startswith("ray::")],
    }.get(kind) or [child for child in children if _name(child) == kind]
    if kind == "worker" and doomed:
        doomed = [rng.choice(doomed)]
    for victim in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    return kind in ("everything", "driver")


def _name(process: psutil.Process) -> str:
    try:
        return str(process.cmdline()[0]) if "ray::" in " ".join(process.cmdline()) else str(process.name())
    except (psutil.NoSuchProcess, IndexError):
        return ""


def disturb(checkout: Checkout, kills: int, seed: int) -> list[str]:
    """Run the search to its end, with so many kills on the way; return what was done."""
    rng = random.Random(seed)
    story: list[str] = []
    while True:
        process = checkout.start(*COMMAND)
        try:
            dead = False
            while not dead and len(story) < kills:
                seconds = rng.uniform(4, 12)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
                if process.poll() is not None:
                    break
                kind = rng.choice(KINDS)
                dead = kill(process, kind, rng)
                story.append(f"{kind} after {seconds:.1f} s")
            output, _ = process.communicate(timeout=200)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        story.append(f"exit {process.returncode}: {(output or '').strip().splitlines()[-1:]}")
        if process.returncode == 0:
            return story


def doubled(checkout: Checkout, trials: int) -> list[str]:
    """What MLflow has twice, or not at all: runs of trials, and epochs of runs."""
    checkout.run(sys.executable, "-m", "pipelines.tracking")
    client = MlflowClient(f"sqlite:///{checkout.root}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("digits-mlp")
    assert experiment is not None
    latest = max(run.info.start_time for run in client.search_runs([experiment.experiment_id], "tags.stage = 'search'"))
    runs = client.search_runs(
        [experiment.experiment_id], f"tags.stage = 'trial' and attributes.start_time >= {latest}", max_results=1000
    )
    names = sorted(run.info.run_name for run in runs)
    faults = [] if names == [f"trial-{n:04d}" for n in range(trials)] else [f"runs: {names}"]
    for run in runs:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")]
        if sorted(steps) != list(range(1, len(steps) + 1)):
            faults.append(f"{run.info.run_name}: epochs {steps}")
        if run.info.status != "FINISHED":
            faults.append(f"{run.info.run_name} is {run.info.status}")
    return faults


def main() -> None:
    """Make a checkout, search undisturbed, then disturbed, and compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fifty-chaos-") as folder:
        checkout = make_checkout(Path(folder) / "fifty")
        for stage in ("fetch", "prepare", "augment"):
            checkout.stage(stage, "digits")
        configure(checkout, given.trials, given.epochs)
        checkout.stage("search", "digits-mlp")
        expected = tables(checkout)
        print("undisturbed: done", flush=True)
        for line in disturb(checkout, given.kills, given.seed):
            print(line, flush=True)
        same = tables(checkout) == expected
        faults = doubled(checkout, given.trials)
        print("the same tables" if same else "OTHER TABLES", faults or "and each epoch once in MLflow")
        sys.exit(not same or bool(faults))


if __name__ == "__main__":
    main()
