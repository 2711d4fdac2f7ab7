"""How far back three recurrent cells remember: `python -m tests.benchmarks.memory --picture docs/pictures/memory.png`.

The adding problem and temporal order (Hochreiter & Schmidhuber 1997) at several lengths, each cell as the default
experiments have it, trained from three different weights; drawn is the median of the test part, beside the baseline.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lit_models.core.data import PreparedData, read_split
from lit_models.fit import fit
from lit_models.forms import load_spec
from lit_models.rnn import LitRNN, RNNConfig
from pipelines.datasets import DATASETS

CELLS = ("rnn", "lstm", "gru")
SEEDS = (0, 1, 2)
EPOCHS = 12


@dataclass(frozen=True)
class Problem:
    """A problem, its lengths, and what its default experiment gives a cell."""

    kind: str
    title: str
    lengths: tuple[int, ...]
    fetch: dict[str, Any]
    model: dict[str, Any]
    baseline: float


PROBLEMS = (
    Problem("temporal_order", "accuracy in temporal order", (10, 30, 60, 100), {}, {}, 0.25),
    Problem(
        "adding",
        "squared error in the adding problem",
        (10, 30, 100, 200),
        {"sequences": 5000},
        {"embedding": 0, "gradient_clip": 1.0},
        1 / 6,
    ),
)


def prepared(problem: Problem, length: int, folder: Path) -> Path:
    """Generate and prepare a problem of a length."""
    dataset = DATASETS[problem.kind]
    raw, target = folder / "raw", folder / "prepared"
    for path in (raw, target):
        path.mkdir()
    dataset.fetch(dataset.FetchConfig(**problem.fetch, length=length), raw, folder)
    dataset.prepare(raw, dataset.PrepareConfig(), target)
    return target


def score(problem: Problem, folder: Path, cell: str, seed: int) -> float:
    """Train one cell and return its accuracy, or its mean squared error, on the test part."""
    config = RNNConfig(cell=cell, width=32, lr=0.01, **problem.model)
    spec = load_spec(folder)
    model = LitRNN(config, spec, seed)
    fit(model, PreparedData(folder, None, config, seed), epochs=EPOCHS, seed=seed, patience=EPOCHS)
    x, y = read_split(folder / "test.safetensors", spec)
    with torch.inference_mode():
        given = model(x)
    if problem.kind == "adding":
        return float((given - y).square().mean())
    return float((given.argmax(1) == y).float().mean())


def measured(problem: Problem) -> Iterator[tuple[str, int, float]]:
    """Yield cell, length and median score."""
    for length in problem.lengths:
        with tempfile.TemporaryDirectory() as folder:
            data = prepared(problem, length, Path(folder))
            for cell in CELLS:
                found = statistics.median(score(problem, data, cell, seed) for seed in SEEDS)
                print(f"{problem.kind:<16}{length:>6}{cell:>6}{found:>10.4f}", flush=True)
                yield cell, length, found


def draw(found: dict[str, list[tuple[str, int, float]]], target: Path) -> None:
    """Draw a panel for each problem, a line for each cell."""
    from matplotlib.figure import Figure

    from pipelines.pictures import save

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, problem in zip(figure.subplots(1, len(PROBLEMS)), PROBLEMS, strict=True):
        for cell in CELLS:
            points = [(length, value) for name, length, value in found[problem.kind] if name == cell]
            axes.plot(*zip(*points, strict=True), marker="o", label=cell)
        axes.axhline(problem.baseline, color="grey", linestyle=":", label="baseline")
        axes.set_xscale("log")
        axes.set_xticks(problem.lengths, [str(length) for length in problem.lengths])
        axes.minorticks_off()
        if problem.kind == "adding":
            axes.set_yscale("log")
        axes.set_xlabel("steps in a sequence")
        axes.set_title(problem.title, fontsize=10)
    axes.legend(fontsize=8)
    save(figure, target)


def main() -> None:
    """Print the table and draw it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__)
    parser.add_argument("--picture", type=Path, required=True)
    target = parser.parse_args().picture
    torch.set_num_threads(1)
    print(f"{'problem':<16}{'steps':>6}{'cell':>6}{'score':>10}")
    draw({problem.kind: list(measured(problem)) for problem in PROBLEMS}, target)


if __name__ == "__main__":
    main()
