"""Trains a cohort in the process that it is called in, and tells whoever listens; knows nothing of Ray."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipelines.away import Desk

Report = Callable[[dict[str, Any]], None]
# As `top` shows a process that trains cohorts.
NAME = "fifty-worker"
# Between two checkpoints of a cohort that will be killed within seconds.
AHEAD_SECONDS = 0.5


def work(cohort: str, task: dict[str, Any], report: Report, pause: float | None = None) -> None:
    """Train a cohort, and report whenever a checkpoint is safe on disk.

    A report has the cohort's `name` and what is new in its `record`. One that has a `fault` says in a sentence why the
    cohort cannot go on.

    Args:
        cohort: the plan's, as JSON.
        task: see `run_trial`.
        report: told of each.
        pause: seconds between two checkpoints, if not as usual.
    """
    from lit_models import FAMILIES
    from lit_models.cohort.memory import release
    from lit_models.cohort.record import CohortSpec, Record
    from lit_models.cohort.run import run_cohort

    spec = CohortSpec.of(json.loads(cohort))
    reported = 0

    def tell(record: Record) -> None:
        nonlocal reported
        desk.deliver()
        report({"name": spec.name, "record": record.since(reported)})
        reported = record.epoch

    try:
        with _desk(spec.name, task) as desk:
            data = _data(desk.prepared, desk.augmented)
            run_cohort(spec, FAMILIES[task["family"]], data, desk.checkpoints, tell, pause)
    except Exception as error:  # the search decides what it means; raised here, Tune would only print it
        sentence = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".strip(": ")
        report({"name": spec.name, "fault": sentence})
    if spec.device == "cuda":
        release()  # an engine knows itself by its graphs, so it would keep its memory beside the next cohort's


def serve(connection: Connection) -> None:
    """In a fork: train whatever cohorts come, until the other end is closed.

    First comes the other end's environment: Ray tells a worker by it which GPU is its own. Each cohort's reports are
    followed by None.
    """
    _settle()
    os.environ.update(connection.recv())
    with suppress(EOFError):
        while True:
            cohort, task = connection.recv()
            work(cohort, task, connection.send)
            connection.send(None)


def run_ahead(connection: Connection) -> None:
    """In a fork: train the cohorts that come, and report; whatever fault it meets, whoever resumes them meets too."""
    _settle()
    cohorts, task = connection.recv()
    for cohort in cohorts:
        work(cohort, task, connection.send, pause=AHEAD_SECONDS)


def _settle() -> None:
    # What torch prints of its own belongs in no terminal; what goes wrong is reported.
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    with suppress(OSError):  # no Linux
        Path("/proc/self/comm").write_text(NAME)


def _desk(name: str, task: dict[str, Any]) -> AbstractContextManager[Desk]:
    """Where the data are and where checkpoints go."""
    if "away" in task:
        found: AbstractContextManager[Desk] = task["away"].desk(name)
        return found
    return nullcontext(Desk(Path(task["prepared"]), Path(task["augmented"]), Path(task["state"])))


_read: dict[tuple[Path, Path], Any] = {}


def _data(prepared: Path, augmented: Path) -> Any:
    """Read the data once for all cohorts that this worker will train."""
    from lit_models.cohort.data import CohortData

    if (prepared, augmented) not in _read:
        _read[prepared, augmented] = CohortData.read(prepared, augmented)
    return _read[prepared, augmented]
