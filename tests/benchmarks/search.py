"""A search of 128 configurations of the digits CNN, ours beside what a person would use instead: one table.

    uv run --with syne-tune==0.16.0 python -m tests.benchmarks.search        # make bench-search, about forty minutes

Every row trains the same configurations on the same data for at most 10 epochs, in batches of 64, validated after each
epoch, on two cores. Times are those of whole commands, imports and Ray's start included. A round runs all rows in
turn, with configurations of its own (how soon a good one comes up is luck); ratios are taken within a round, and the
table has the medians over the rounds.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.search_rows import Run, draw, ours, prepare, rival
from tests.e2e.conftest import Checkout, make_checkout

Rounds = dict[str, list[Run]]
REFERENCE, REUSED, BARE, ALL, HALVING, SYNE, OPTUNA = "123456o"
NAMES = {
    REFERENCE: "1  Ray Tune + Lightning as documented",
    REUSED: "2  the same with reuse_actors=True",
    BARE: "3  two bare PyTorch processes",
    ALL: "4  ours, all epochs",
    HALVING: "5  ours, halving (eta 3)",
    SYNE: "6  Syne Tune, local backend, ASHA",
    OPTUNA: "6  Optuna, in-process, median pruner",
}


def rows(checkout: Checkout, trials: int, scaled: int) -> dict[str, Callable[[], Run]]:
    """What each row runs."""
    table = {
        REFERENCE: lambda: rival(checkout, "tune_lightning", scaled),
        REUSED: lambda: rival(checkout, "tune_lightning", scaled, "--reuse"),
        BARE: lambda: rival(checkout, "processes", trials),
        ALL: lambda: ours(checkout, "all"),
        HALVING: lambda: ours(checkout, "halving"),
        SYNE: lambda: rival(checkout, "syne", trials),
        OPTUNA: lambda: rival(checkout, "pruned", trials),
    }
    if importlib.util.find_spec("syne_tune") is None:
        print("Syne Tune is not installed, so its row is left out; make bench-search brings it")
        del table[SYNE]
    return table


def report(rounds: Rounds, trials: int) -> None:
    """Print the table and what was to be reached."""

    def ratio(slow: str, fast: str, figure: Callable[[Run], float]) -> str:
        if not {slow, fast} <= rounds.keys():
            return "—"  # left out
        pairs = zip(rounds[slow], rounds[fast], strict=True)
        ratios = [figure(one) / figure(other) for one, other in pairs]
        return f"{statistics.median(ratios):.2f}"

    def whole(run: Run) -> float:
        return run.scaled(trials)

    print(f"\n{'':40}{'seconds':>9}{'training':>10}{'best':>8}{'1 / row':>9}{'2 / row':>9}{'3 / row':>9}")
    for key, runs in rounds.items():
        seconds, training, best = (
            statistics.median(figures)
            for figures in zip(*((whole(r), r.training * trials / r.trials, r.best) for r in runs), strict=True)
        )
        ratios = "".join(f"{ratio(other, key, whole):>9}" for other in (REFERENCE, REUSED, BARE))
        print(f"{NAMES[key]:40}{seconds:>9.1f}{training:>10.1f}{best:>8.4f}{ratios}")
    print(
        f"\nfrom the first step to the last, row 3 over row 4: {ratio(BARE, ALL, lambda r: r.training)} (to reach: 1.3)"
    )
    for mine in (ALL, HALVING):
        for theirs in (SYNE, OPTUNA):
            if mine in rounds and theirs in rounds:
                print("to the best accuracy that both reached in a round:")
                _race(rounds[mine], rounds[theirs], NAMES[mine], NAMES[theirs])


def _race(mine: list[Run], theirs: list[Run], my_name: str, their_name: str) -> None:
    """Print who reached first the best accuracy that both reached, in each round and in the median."""
    both = [min(one.best, other.best) for one, other in zip(mine, theirs, strict=True)]
    for runs, name in ((mine, my_name), (theirs, their_name)):
        times = [run.until(accuracy) for run, accuracy in zip(runs, both, strict=True)]
        each = ", ".join(f"{time:.1f}" for time in times)
        print(f"  {name[3:]}: {statistics.median(times):.1f} s ({each})")


def machine() -> str:
    """The machine in a line."""
    import torch

    cpu = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), platform.machine()
    )
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{cpu.partition(': ')[2] or cpu}, {os.cpu_count()} cores, {versions}"


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.search", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=128, help="configurations of rows 3 to 6")
    parser.add_argument(
        "--scaled", type=int, default=32, help="configurations of rows 1 and 2, whose times are scaled up"
    )
    parser.add_argument("--rows", default="123456o", help="of 1 to 6, and o for Optuna (default: %(default)s)")
    given = parser.parse_args()
    print(machine())
    print(f"{given.trials} configurations, {given.rounds} rounds; rows 1 and 2 have {given.scaled} configurations, and")
    print("the rest is added at their own seconds per trial")
    rounds: Rounds = {}
    with tempfile.TemporaryDirectory(prefix="fifty-bench-") as folder:
        checkout = make_checkout(Path(folder) / "fifty")
        prepare(checkout, max(given.scaled, given.trials))
        table = {key: run for key, run in rows(checkout, given.trials, given.scaled).items() if key in given.rows}
        for number in range(given.rounds):
            draw(checkout, (given.scaled, given.trials), seed=number)
            for key, run in table.items():
                done = run()
                rounds.setdefault(key, []).append(done)
                print(f"round {number + 1}: {NAMES[key]}: {done.seconds:.1f} s, best {done.best:.4f}", flush=True)
    report(rounds, given.trials)


if __name__ == "__main__":
    main()
