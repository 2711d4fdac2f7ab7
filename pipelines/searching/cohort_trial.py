"""One cohort of a search, as it runs in a Ray worker, which on the search's own machine has a fork do the training."""

import json
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipelines import head_start, startup, zygote
from pipelines.searching import cohort_work

PEERS_SECONDS = 5.0


def run_trial(config: dict[str, Any], task: dict[str, Any]) -> None:
    """Train one cohort; to Tune it is one trial. What is reported: see `cohort_work.work`.

    Away from the search's own machine, the first report has but the `machine`, as Ray names it.

    Args:
        config: `cohort` is the plan's, as JSON; `gpu` the fraction of a GPU that Ray has kept for it.
        task: what all cohorts of the search share: `family`; on the search's own machine `zygote`, its address, and
            `prepared`, `augmented` and `state`, the folder of checkpoints; elsewhere `away`, through which that machine
            has them.
    """
    from ray import tune

    if "away" in task:
        # Before the imports, for its time is paid for from here on.
        tune.report({"name": json.loads(config["cohort"])["name"], "machine": task["away"].machine()})
    elif (worker := _fork(task["zygote"])) is not None:
        _have_trained(worker, config["cohort"], task, tune.report)
        return
    startup.collect_seldom()
    cohort_work.work(config["cohort"], task, tune.report)


_forks: dict[str, Connection] = {}


def _fork(address: str) -> Connection | None:
    """The fork that trains for this worker, the same for all its cohorts; None if there is none to be had."""
    if address not in _forks:
        _await_peers(Path(address).parent)
        try:
            connection = zygote.fork(address, cohort_work.serve)
            connection.send(dict(os.environ))
        except OSError:
            return None
        _forks[address] = connection
    return _forks[address]


def _await_peers(folder: Path) -> None:
    """Wait until as many workers have begun as cohorts are being trained ahead.

    They may be over by now. Once the first worker has said so, Tune gives it the cohort whose own
    worker is still starting, ends that one, and starts a third.
    """
    (folder / f"worker-{os.getpid()}").touch()
    count = len(list(folder.glob(f"{head_start.BEGUN}*")))
    until = time.monotonic() + PEERS_SECONDS
    while len(list(folder.glob("worker-*"))) < count and time.monotonic() < until:
        time.sleep(0.02)


def _have_trained(worker: Connection, cohort: str, task: dict[str, Any], report: cohort_work.Report) -> None:
    try:
        worker.send((cohort, task))
        while (message := worker.recv()) is not None:
            report(message)
    except (EOFError, OSError):
        os._exit(1)  # it was killed, and so this worker is of no use: Ray shall see it dead
