"""Draws the lanes of a finished search: a bar for each, as long as it was trained, coloured by its validation accuracy.

python -m tests.benchmarks.lanes_picture results/digits-cnn/search .fifty/search/digits-cnn/*/plan.jsonl docs/search.png
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl
import pyarrow.parquet as pq

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw(search: Path, plan: Path, target: Path) -> None:
    """Draw the lanes, cohort by cohort, the longest at the top."""
    history = pq.read_table(search / "history.parquet").to_pandas()
    cohorts = [cohort for line in plan.read_text().splitlines() for cohort in json.loads(line)["cohorts"]]
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    y, ticks = 0.0, []
    for cohort in cohorts:
        lanes = history[history.trial.isin(cohort["trials"])]
        order = lanes.groupby("trial").epoch.max().sort_values(ascending=False, kind="stable").index
        ticks.append((y + len(order) / 2, cohort["name"]))
        for trial in order:
            own = lanes[lanes.trial == trial]
            bars = axes.scatter(own.epoch, [y] * len(own), c=own.val_accuracy, marker="s", s=34, vmin=0.5, vmax=1)
            y += 1
        y += 1.5
    for rung in cohorts[0]["rule"]["rungs"]:
        axes.axvline(rung + 0.5, color="grey", linestyle=":")
        axes.text(rung + 0.5, -1.2, f"rung {rung}", ha="center", va="bottom", color="grey", backgroundcolor="white")
    axes.set_yticks([place for place, _ in ticks], [f"cohort {name}" for _, name in ticks])
    axes.set_xticks(range(1, int(history.epoch.max()) + 1))
    axes.set_xlabel("epoch")
    axes.invert_yaxis()
    axes.set_frame_on(False)
    figure.colorbar(bars, label="validation accuracy")
    figure.savefig(target, dpi=110)


def main() -> None:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lanes_picture", description=__doc__)
    for name in ("search", "plan", "target"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    draw(given.search, given.plan, given.target)


if __name__ == "__main__":
    main()
