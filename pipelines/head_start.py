"""Trains the first cohorts while Ray starts; its workers go on from their checkpoints, as they would after any death.

Ray and Tune take six seconds before the first of their workers is at work, in which a small search can be over. The
cohorts that they would place first are known by then. What comes out is the same, by the promise that a cohort which is
killed and resumed ends in the same bits.
"""

import json
import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from pipelines import cohort_work, zygote
from pipelines.cohorts import Cohort


class HeadStart:
    """Cohorts that forks of this process's own train until Ray's workers take over.

    Args:
        address: of what forks.
        task: what all cohorts share; see `run_trial`.
        workers: how many are trained at a time.
    """

    def __init__(self, address: str, task: dict[str, Any], workers: int) -> None:
        self._address, self._task, self._workers = address, task, workers
        self._forks: dict[str, Connection] = {}

    def begin(self, cohorts: list[Cohort]) -> None:
        """Train as many as workers will, in the order in which they will; on a GPU none, for Ray says who has which."""
        if any(cohort["device"] != "cpu" for cohort in cohorts):
            return
        for first in range(min(self._workers, len(cohorts))):
            own = cohorts[first :: self._workers]
            with suppress(OSError):  # what forks is dead: Ray's workers will do without, too
                fork = zygote.fork(self._address, cohort_work.run_ahead)
                self._forks |= {cohort["name"]: fork for cohort in own}
                fork.send(([json.dumps(cohort) for cohort in own], self._task))

    def stop(self, name: str) -> None:
        """End what trains a cohort, or would later, and wait until it has: the files are another's from now on."""
        fork = self._forks.get(name)
        if fork is None or fork.closed:
            return
        with fork, suppress(EOFError, OSError):
            pid = fork.recv()
            if not fork.poll():  # no more is ever sent: what there is to read is its end, and the number another's
                os.kill(pid, signal.SIGKILL)
                fork.recv()

    def close(self) -> None:
        """End all."""
        for name in self._forks:
            self.stop(name)
