"""This machine as the place of a search, from before Ray has started: its folder, what forks, what plans."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import places, zygote
from pipelines.head_start import HeadStart
from pipelines.local_ray import scratch
from pipelines.search_state import SearchState
from pipelines.searching.cohorts import Cohort
from pipelines.searching.planner import Planner, planner
from pipelines.searching.recorder import Recorder
from pipelines.stage import Stage


@dataclass(frozen=True)
class ThisMachine:
    """This machine, while it searches.

    Attributes:
        folder: for what Ray and Tune must write; gone afterwards.
        planner: what plans.
        workers: how many cohorts are trained at a time.
        threads: of each.
        task: what all cohorts share; see `run_trial`.
        ahead: what trains the first cohorts until Ray's workers do.
    """

    folder: Path
    planner: Planner
    workers: int
    threads: int
    task: dict[str, Any]
    ahead: HeadStart

    def begin(self, cohorts: list[Cohort], recorder: Recorder) -> None:
        """Begin with the first cohorts, while Ray starts, and keep the book of them."""

        def tell(cohort: Cohort, record: str) -> None:
            recorder.begin(cohort)
            recorder.update(record)

        self.ahead.begin(cohorts, tell)

    def close(self) -> None:
        """End what was begun and nobody took over, so that nobody tells the recorder any more."""
        self.ahead.close()


@contextmanager
def this_machine(work: Stage, state: SearchState) -> Iterator[ThisMachine]:
    """Yield this machine, with what forks beginning to load."""
    experiment = work.params.experiments[work.key]
    threads = experiment.search.threads
    workers = work.params.machine.cohorts(threads)
    # torch's own place for what it compiles is a folder that all users of a machine may write to.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(places.state("compiled")))
    with scratch() as folder, zygote.started(folder, work.title) as address, planner(address) as plan:
        task = {
            "family": experiment.family,
            "prepared": str(places.prepared(experiment.dataset).resolve()),
            "augmented": str(places.augmented(experiment.dataset).resolve()),
            "state": str(state.cohorts.resolve()),
            "zygote": address,
        }
        yield ThisMachine(folder, plan, workers, threads, task, HeadStart(address, task, workers))
