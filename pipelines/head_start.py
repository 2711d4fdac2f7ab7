"""Trains the first cohorts while Ray starts; its workers go on from their checkpoints, as they would after any death.

Ray and Tune take six seconds before the first of their workers is at work, in which a small search can be over. The
cohorts that they would place first are known by then. What comes out is the same, by the promise that a cohort which is
killed and resumed ends in the same bits.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipelines import zygote
from pipelines.searching import cohort_work
from pipelines.searching.cohorts import Cohort

# How the file of a fork is named.
BEGUN = "ahead-"

Tell = Callable[[Cohort, str], None]


class HeadStart:
    """Cohorts that forks of this process's own train until Ray's workers take over.

    Args:
        address: of what forks; in its folder a file is left for each fork, so that workers know of how many they are.
        task: what all cohorts share; see `run_trial`.
        workers: how many are trained at a time.
    """

    def __init__(self, address: str, task: dict[str, Any], workers: int) -> None:
        self._address, self._task, self._workers = address, task, workers
        self._trainers: dict[str, _Trainer] = {}
        self._turn, self._is_closed = threading.Lock(), False

    def begin(self, cohorts: list[Cohort], tell: Tell) -> None:
        """Train as many as workers will, in the order in which they will; on a GPU none, for Ray says who has which.

        Args:
            cohorts: what is to be trained.
            tell: told of a cohort what is new in its record, by a thread of this object's own.
        """
        if any(cohort["device"] != "cpu" for cohort in cohorts):
            return
        with self._turn:
            for first in range(0 if self._is_closed else min(self._workers, len(cohorts))):
                own = {cohort["name"]: cohort for cohort in cohorts[first :: self._workers]}
                with suppress(OSError):  # what forks is dead: Ray's workers will do without, too
                    fork = zygote.fork(self._address, cohort_work.run_ahead)
                    fork.send(([json.dumps(cohort) for cohort in own.values()], self._task))
                    self._trainers |= dict.fromkeys(own, _Trainer(fork, own, tell))
                    Path(self._address).with_name(f"{BEGUN}{first}").touch()

    def stop(self, name: str) -> None:
        """End what trains a cohort, or would later, and wait until it has: the files are another's from now on.

        Raises:
            Exception: whatever `tell` raised.
        """
        if name in self._trainers:
            self._trainers[name].end()
            if (error := self._trainers[name].error) is not None:
                raise error

    def close(self) -> None:
        """End all, and begin nothing any more."""
        with self._turn:
            self._is_closed = True
        for trainer in self._trainers.values():
            trainer.end()


class _Trainer:
    """A fork that trains, and the thread that passes on what it reports.

    Attributes:
        error: what went wrong in passing on, after which the thread has ended.
    """

    def __init__(self, fork: Connection, own: dict[str, Cohort], tell: Tell) -> None:
        self._fork, self._own, self._tell = fork, own, tell
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._pass_on, name="head start", daemon=True)
        self._thread.start()

    def _pass_on(self) -> None:
        try:
            for report in self._reports():
                # Of a fault nobody is told: whoever takes over meets it too.
                if "record" in report:
                    self._tell(self._own[report["name"]], report["record"])
        except Exception as error:  # it is the search's to raise
            self.error = error
        finally:
            # Until then the fork may be training; when it has ended, its files are nobody's.
            zygote.end(self._fork)
            for _ in self._reports():
                pass

    def _reports(self) -> Iterator[dict[str, Any]]:
        with suppress(EOFError, OSError):
            while True:
                yield self._fork.recv()

    def end(self) -> None:
        """End the fork, pass on the rest of what it has reported, and return when it is dead."""
        if not self._fork.closed:
            zygote.end(self._fork)
            self._thread.join()
            self._fork.close()
