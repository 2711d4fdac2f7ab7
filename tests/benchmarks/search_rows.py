"""The rows of `tests.benchmarks.search`: each a command, and what can be read off it when it has ended."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from tests.e2e.conftest import Checkout

SEARCH = (
    "epochs: 10, space: {lr: {loguniform: [0.0003, 0.03]}, weight_decay: {loguniform: [0.0001, 0.1]}, "
    "dropout: {uniform: [0.0, 0.5]}, label_smoothing: {uniform: [0.0, 0.2]}}"
)
EXPERIMENT = "{{dataset: digits, family: cnn, model: {{}}, train: {{}}, evaluate: {{}}, search: {{{0}}}}}"
PARAMS = """\
datasets:
  digits: {{kind: digits, fetch: {{}}, prepare: {{val: 0.15, test: 0.15}}, augment: {{copies: 0}}}}
experiments:
  all: {0}
  halving: {1}
report: {{}}
"""


@dataclass(frozen=True)
class Run:
    """One run of a row's command.

    Attributes:
        seconds: wall time of the whole command.
        training: wall time from the first step of training to the last, validation included.
        trials: configurations that it began with.
        points: (seconds since the command's start, validation accuracy), as they came.
    """

    seconds: float
    training: float
    trials: int
    points: list[tuple[float, float]]

    @property
    def best(self) -> float:
        """The best validation accuracy of all trials and epochs."""
        return max(accuracy for _, accuracy in self.points)

    def until(self, accuracy: float) -> float:
        """Seconds from the command's start until that accuracy was reached; float32 may be off by a rounding."""
        return next(when for when, reached in self.points if reached >= accuracy - 1e-6)

    def scaled(self, trials: int) -> float:
        """Wall time of so many trials: the rest at the command's own seconds of training per trial."""
        return self.seconds + (trials - self.trials) * self.training / self.trials


def params(trials: int, seed: int) -> str:
    """The params.yaml of our two rows."""
    search = f"trials: {trials}, seed: {seed}, {SEARCH}"
    return PARAMS.format(EXPERIMENT.format(search), EXPERIMENT.format(f"{search}, scheduler: halving, eta: 3"))


def timed(checkout: Checkout, *command: str) -> tuple[float, float]:
    """Run a command in a checkout; return the time of day it began at, and how many seconds it took."""
    began, start = time.time(), time.perf_counter()
    done = subprocess.run(command, cwd=checkout.root, env=checkout.environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} gave {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return began, time.perf_counter() - start


def ours(checkout: Checkout, key: str) -> Run:
    """Search by this project, for the first time: nothing is planned yet."""
    shutil.rmtree(checkout.root / ".fifty" / "search", ignore_errors=True)
    began, seconds = timed(checkout, sys.executable, "-m", "pipelines.search", key)
    folder = checkout.root / "results" / key / "search"
    timings = pq.read_table(folder / "timings.parquet").to_pydict()
    training = max(timings["ended"]) - min(timings["started"])
    events = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    points = [
        (event["time"] / 1000 - began, event["metrics"]["val_accuracy"])
        for event in events
        if event["event"] == "metrics" and "val_accuracy" in event["metrics"]
    ]
    return Run(seconds, training, len(timings["trial"]), points)


def rival(checkout: Checkout, name: str, trials: int, *options: str) -> Run:
    """Search by one of `tests.benchmarks.rivals`."""
    configs, log = checkout.root / f"{trials}.json", checkout.root / "rival.jsonl"
    log.unlink(missing_ok=True)
    module = f"tests.benchmarks.rivals.{name}"
    files = [str(path) for path in (configs, checkout.root / "data" / "prepared" / "digits", log)]
    began, seconds = timed(checkout, sys.executable, "-m", module, *files, *options)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    points = [(line["time"] - began, line["accuracy"]) for line in lines if line["epoch"]]
    times = [line["time"] for line in lines]
    return Run(seconds, max(times) - min(times), trials, points)


def prepare(checkout: Checkout, trials: int) -> None:
    """Write the params.yaml of our two rows, and make the data."""
    (checkout.root / "params.yaml").write_text(params(trials, 0))
    for stage in ("fetch", "prepare", "augment"):
        checkout.stage(stage, "digits")
    shutil.copytree(Path(__file__).parents[1], checkout.root / "tests", ignore=shutil.ignore_patterns("__pycache__"))


def draw(checkout: Checkout, counts: tuple[int, ...], seed: int) -> None:
    """Draw the configurations that all rows train: those that our search draws."""
    (checkout.root / "params.yaml").write_text(params(max(counts), seed))
    script = "import json; from pipelines.params import load; from pipelines.searching.space import random_trials; "
    script += "s = load().experiments['all'].search; print(json.dumps(random_trials(s.space, s.trials, s.seed)))"
    drawn = json.loads(checkout.run(sys.executable, "-c", script))
    for count in counts:
        (checkout.root / f"{count}.json").write_text(json.dumps(drawn[:count]))
