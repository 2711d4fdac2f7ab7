"""What MLflow costs a search of 64 lanes: whole commands with tracking and without, in turns.

    python -m tests.benchmarks.tracking        # make bench-tracking

The search is that of tests.benchmarks.search with 64 trials. With tracking, a thread of the search's process sends what
is in the journal to the default SQLite store while workers train; without, the journal is written and nothing sent.
"""

import argparse
import contextlib
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.search_rows import prepare, timed
from tests.e2e.conftest import make_checkout

TRIALS = 64


def untracked() -> None:
    """Be the stage `search` of the experiment `all`, without the thread that sends."""
    from pipelines import delivery, search, stage

    delivery.Delivery = contextlib.nullcontext  # type: ignore[assignment, misc]
    sys.argv = ["search", "all"]
    stage.main("search", "", search.search, over="experiments")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.tracking", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--untracked", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.untracked:
        untracked()
    commands = {
        "without": (sys.executable, "-m", "tests.benchmarks.tracking", "--untracked"),
        "with": (sys.executable, "-m", "pipelines.search", "all"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory(prefix="fifty-bench-") as folder:
        checkout = make_checkout(Path(folder) / "fifty")
        prepare(checkout, TRIALS)
        for _ in range(given.rounds):
            for name, command in commands.items():
                for state in ("search", "outbox"):
                    shutil.rmtree(checkout.root / ".fifty" / state, ignore_errors=True)
                seconds[name].append(timed(checkout, *command)[1])
    without, with_ = (statistics.median(seconds[name]) for name in ("without", "with"))
    print(f"{TRIALS} lanes, {given.rounds} rounds, median seconds: without tracking {without:.1f}, with {with_:.1f}")
    print(f"to reach: at most 1.05 x {without:.1f} + 3 = {1.05 * without + 3:.1f}")


if __name__ == "__main__":
    main()
