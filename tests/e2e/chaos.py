"""Kills a search at random moments and compares what it ends with to an undisturbed one.

python -m tests.e2e.chaos --kills 20 --trials 64        # the nightly form, about ten minutes on two cores
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from mlflow import MlflowClient
from safetensors import safe_open

from pipelines.searching import cohort_work
from tests.e2e.conftest import PATIENCE, Checkout, make_checkout

SERVERS = ("raylet", "gcs_server")
ENDS = ("everything", "driver")
KINDS = (*ENDS, "worker", *SERVERS)
TABLES = ("trials.parquet", "history.parquet", "best.yaml", "winner.safetensors")
# Long enough for twenty kills of 64 trials, on a machine of two cores.
EPOCHS = 1500
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


@dataclass
class Story:
    """What was killed, kind by kind, and how each start of the search ended."""

    kills: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def is_as_planned(self, kills: int) -> bool:
        """Whether so many kills had a victim, of all kinds that they should be of."""
        counts = Counter(self.kills)
        kinds = all(counts[kind] >= 2 for kind in KINDS) if kills >= 2 * len(KINDS) else len(counts) == min(kills, 3)
        return len(self.kills) == kills and kinds and counts["worker"] > 0 and any(counts[kind] for kind in ENDS)


def choose(kills: int, rng: random.Random) -> list[str]:
    """Draw what to kill, one after another: each kind twice if there are enough, three kinds at least else."""
    few = ["worker", rng.choice(ENDS), rng.choice(SERVERS)][:kills]
    kinds = [*KINDS, *KINDS] if kills >= 2 * len(KINDS) else few
    kinds += rng.choices(KINDS if len(kinds) > 3 else kinds, k=kills - len(kinds))
    rng.shuffle(kinds)
    return kinds


def kill(process: "subprocess.Popen[str]", kind: str, rng: random.Random) -> int:
    """Kill one of the search's processes, or all; return how many were killed."""
    search = psutil.Process(process.pid)
    children = search.children(recursive=True)
    doomed = {"everything": [search, *children], "driver": [search]}.get(kind)
    if doomed is None:
        # Ray's workers, and the forks that train for them.
        names = ("ray::ImplicitFunc", cohort_work.NAME) if kind == "worker" else (kind,)
        doomed = [child for child in children if _name(child).startswith(names)]
    victims = 0
    for victim in [rng.choice(doomed)] if kind == "worker" and doomed else doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
            victims += 1
    return victims


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.NoSuchProcess:
        return ""


def progress(checkout: Checkout, epochs: int) -> float:
    """What fraction of the epochs of the search that is under way is safe on disk; 0 if there is no plan."""
    running = (checkout.root / ".fifty" / "search" / "digits-mlp").glob("*/running.json")
    plans = [path.with_name("plan.jsonl") for path in running if path.with_name("plan.jsonl").exists()]
    if len(plans) != 1 or not (lines := plans[0].read_text().splitlines()):
        return 0.0
    safe = []
    for cohort in json.loads(lines[0])["cohorts"]:
        path = plans[0].parent / "cohorts" / f"{cohort['name']}.safetensors"
        with contextlib.suppress(FileNotFoundError), safe_open(path, framework="numpy") as file:
            safe.append(int(json.loads(file.metadata()["record"])["epoch"]))
        if path.with_suffix(".done.safetensors").exists():
            safe.append(epochs)
    return min(sum(safe) / len(json.loads(lines[0])["cohorts"]) / epochs, 1.0)


def disturb(checkout: Checkout, kills: int, epochs: int, seed: int) -> Story:
    """Run the search to its end, with so many kills on the way, spread over all of its training.

    A kill comes when a drawn part of the epochs is safe, and a moment later, so that some are not; one in five of many
    comes right after the one before instead, while the search begins again.
    """
    rng = random.Random(seed)
    story = Story()
    waiting = [
        (kind, 0.0 if kills > 5 and number % 5 == 4 else (number + rng.random()) / (kills + 1))
        for number, kind in enumerate(choose(kills, rng))
    ]
    while True:
        process = checkout.start(*COMMAND)
        try:
            _attack(checkout, process, epochs, waiting, story, rng)
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        story.lines.append(f"exit {process.returncode}: {(output or '').strip().splitlines()[-1:]}")
        if process.returncode == 0:
            return story
        # Killed by us, or after some deaths of Ray in a row, or at one while it starts; anything else is a fault.
        assert process.returncode == -signal.SIGKILL or "nothing is lost" in output, output


def _attack(
    checkout: Checkout,
    process: "subprocess.Popen[str]",
    epochs: int,
    waiting: list[tuple[str, float]],
    story: Story,
    rng: random.Random,
) -> None:
    """Kill what is waiting until the search has ended by it, or by itself."""
    while waiting and process.poll() is None:
        kind, share = waiting[0]
        if (reached := progress(checkout, epochs)) < share:
            time.sleep(0.1)
            continue
        time.sleep(rng.uniform(0, 1))
        with contextlib.suppress(psutil.NoSuchProcess):
            if not kill(process, kind, rng):
                continue  # not there yet
            waiting.pop(0)
            story.kills.append(kind)
            story.lines.append(f"{kind} at {reached:.0%}")
            if kind in ENDS:
                return


def now() -> int:
    """Milliseconds, as MLflow has them."""
    return int(time.time() * 1000)


def doubled(checkout: Checkout, trials: int, began: int) -> list[str]:
    """What MLflow has twice, or not at all, of a search that began then: its run, runs of trials, epochs of runs."""
    checkout.run(sys.executable, "-m", "pipelines.tracking")
    client = MlflowClient(f"sqlite:///{checkout.root}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("digits-mlp")
    assert experiment is not None
    since = f"attributes.start_time >= {began}"
    parents, runs = (
        client.search_runs([experiment.experiment_id], f"tags.stage = '{stage}' and {since}", max_results=1000)
        for stage in ("search", "trial")
    )
    names = sorted(run.info.run_name for run in runs)
    faults = [] if names == [f"trial-{n:04d}" for n in range(trials)] else [f"runs: {names}"]
    if len(parents) != 1 or parents[0].info.status != "FINISHED":
        faults.append(f"searches: {[(run.info.run_id, run.info.status) for run in parents]}")
    if {run.data.tags["mlflow.parentRunId"] for run in runs} != {run.info.run_id for run in parents}:
        faults.append("some trials are of another search")
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
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fifty-chaos-") as folder:
        checkout = make_checkout(Path(folder) / "fifty")
        for stage in ("fetch", "prepare", "augment"):
            checkout.stage(stage, "digits")
        configure(checkout, given.trials, given.epochs)
        checkout.run(*COMMAND, timeout=PATIENCE)
        expected = tables(checkout)
        print("undisturbed: done", flush=True)
        began = now()
        story = disturb(checkout, given.kills, given.epochs, given.seed)
        print(*story.lines, sep="\n", flush=True)
        faults = [] if tables(checkout) == expected else ["other tables"]
        faults += [] if story.is_as_planned(given.kills) else [f"killed: {story.kills}"]
        faults += doubled(checkout, given.trials, began)
        print("\n".join(faults) or "the same tables, and each trial and epoch once in MLflow")
        sys.exit(bool(faults))


if __name__ == "__main__":
    main()
