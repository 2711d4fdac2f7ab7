"""What a search costs its own process for each trial, from 100 to 10,000 trials whose training is a no-op.

    python -m tests.benchmarks.scale --picture docs/search-scale.png        # make bench-scale

The real search: drawn, planned in cohorts of 64, placed by Ray Tune on real workers, kept in the book and the journal,
written as tables; only that a worker reports a cohort's last epoch at once, and that no MLflow server is sent anything.
Each number of trials runs in a process of its own. Driver time is the processor time of that process, all its threads
together, from the moment when all is imported; memory is what it holds at the end, less what it held at that moment.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.conftest import make_checkout

COUNTS = (100, 316, 1000, 3162, 10_000)
MOST_MS, MOST_KB = 5.0, 20.0
PARAMS = """\
datasets:
  digits: {{kind: digits, fetch: {{}}, prepare: {{limit: 40}}, augment: {{}}}}
experiments:
  scale:
    dataset: digits
    family: mlp
    model: {{hidden: 8}}
    search: {{trials: {0}, epochs: 1, K: 64, engine: fused, space: {{lr: {{loguniform: [0.001, 0.1]}}}}}}
    train: {{}}
    evaluate: {{}}
report: {{}}
"""


def no_op(config: dict[str, Any], task: dict[str, Any]) -> None:
    """Report a cohort as trained that never was."""
    from ray import tune

    cohort = json.loads(config["cohort"])
    figures = {"train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5, "lr": 0.1}
    lane = {"status": "finished", "epochs": [figures], "changes": {}, "copied": [], "ended": time.time()}
    record = {"epoch": 1, "lanes": dict.fromkeys(cohort["trials"], lane), "seconds": [0.0], "began": time.time()}
    tune.report({"name": cohort["name"], "record": json.dumps(record)})


def held() -> int:
    """Bytes of memory that this process holds, shared pages left out."""
    import psutil

    return int(psutil.Process().memory_full_info().uss)


def one() -> None:
    """Search in the working folder, and print what it cost as JSON."""
    from pipelines import search_state, startup
    from pipelines.journal import Journal
    from pipelines.local_ray import import_ray
    from pipelines.params import load
    from pipelines.searching.campaign import Campaign
    from pipelines.searching.recorder import Recorder
    from pipelines.searching.search_tables import write_tables
    from pipelines.stage import Stage
    from pipelines.this_machine import this_machine
    from tests.benchmarks.scale import no_op as trainable

    startup.collect_seldom()
    work = Stage("search", "scale", load())
    with search_state.opened(work) as state, this_machine(work, state) as place, Journal(work.title) as journal:
        import_ray()
        from pipelines.searching.cohort_tuner import train

        cpu, wall, memory = time.process_time(), time.perf_counter(), held()
        campaign = Campaign(work, state, place.planner)
        recorder = Recorder(work, journal)
        campaign.run(recorder, lambda cohorts: train(work, campaign, state, recorder, cohorts, place, trainable))
        folder = Path("tables")
        folder.mkdir()
        write_tables(folder, list(recorder.trials.values()), recorder.best, recorder.costs)
        cost = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "memory": held() - memory}
    print(json.dumps({"trials": len(recorder.trials), **cost}))


def measure(trials: int) -> dict[str, float]:
    """Run one number of trials in a process and a checkout of its own."""
    with tempfile.TemporaryDirectory(prefix="fifty-scale-") as folder:
        checkout = make_checkout(Path(folder) / "fifty")
        (checkout.root / "params.yaml").write_text(PARAMS.format(trials))
        for stage in ("fetch", "prepare", "augment"):
            checkout.stage(stage, "digits")
        environment = {**checkout.environment, "PYTHONPATH": f"{checkout.root}{os.pathsep}{Path(__file__).parents[2]}"}
        command = [sys.executable, "-m", "tests.benchmarks.scale", "--one"]
        done = subprocess.run(command, cwd=checkout.root, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{trials} trials gave {done.returncode}:\n{done.stdout}\n{done.stderr}")
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found


def draw(rows: list[dict[str, float]], target: Path) -> None:
    """Draw driver time and memory per trial over the number of trials, with the most they may be."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    trials = [row["trials"] for row in rows]
    columns = (
        ("driver time per trial, ms", [1000 * row["cpu"] / row["trials"] for row in rows], MOST_MS),
        ("memory per trial, kB", [row["memory"] / 1000 / row["trials"] for row in rows], MOST_KB),
    )
    for axis, (label, values, most) in zip(axes, columns, strict=True):
        axis.plot(trials, values, marker="o")
        axis.axhline(most, color="grey", linestyle=":")
        axis.text(trials[0], 0.93 * most, f"at most {most:g} at 10,000", va="top", color="grey", fontsize=8)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.yaxis.set_minor_formatter("{x:,g}")
        axis.tick_params(axis="y", which="minor", labelsize=7)
        axis.set_xlabel("trials")
        axis.set_title(label)
    figure.savefig(target, dpi=110)


def main() -> None:
    """Measure all numbers of trials and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--counts", type=int, nargs="+", default=COUNTS, help="numbers of trials (default: %(default)s)"
    )
    parser.add_argument("--picture", type=Path, help="where to draw both against the number of trials")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one()
        return
    print(f"{'trials':>8}{'driver, ms/trial':>18}{'wall, ms/trial':>16}{'memory, kB/trial':>18}")
    rows = []
    for trials in given.counts:
        row = measure(trials)
        rows.append(row)
        per = [1000 * row["cpu"] / trials, 1000 * row["wall"] / trials, row["memory"] / 1000 / trials]
        print(f"{trials:>8,}{per[0]:>18.2f}{per[1]:>16.2f}{per[2]:>18.1f}", flush=True)
    print(f"to reach at {COUNTS[-1]:,}: at most {MOST_MS:g} ms and {MOST_KB:g} kB")
    if given.picture:
        draw(rows, given.picture)


if __name__ == "__main__":
    main()
