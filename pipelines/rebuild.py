"""Sees that MLflow has all that the outbox and the outs hold; the command `python -m pipelines.tracking`.

DVC restores outs without running a stage (`dvc checkout`, `dvc pull`, its run cache), and a database can be lost.
"""

import argparse
import fcntl
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipelines import delivery, journal, places
from pipelines.server import hidden, shown_uri, uri
from pipelines.tracking import Sender, crown, find_run
from pipelines.turn import Turn

if TYPE_CHECKING:
    from pipelines.params import Params

# How long we wait for our turn; and how often we try what met a lock, for 20 s each time.
PATIENCE_SECONDS = 60.0
LOCKED_TRIES = 3
T = TypeVar("T")


def sync(params: "Params") -> int:
    """Send the outbox, then rebuild from the outs whatever MLflow lacks; return the number of journals rebuilt.

    Raises:
        Exception: whatever the server or the network raised, and `Taken` if another process writes for very long.
    """
    _persist(partial(delivery.send_outbox, PATIENCE_SECONDS))
    outs = [
        out
        for key in params.experiments
        for out in (places.results(key) / "search", places.model(key), places.results(key))
        if (out / journal.NAME).exists()
    ]
    file = places.state("rebuilding")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        # Two processes at once would each make the runs that MLflow lacks.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return sum(_persist(partial(_rebuild, out)) for out in outs)


def _rebuild(out: Path) -> bool:
    """Replay an out's journal if MLflow lacks it, and see to its champion; return whether it was replayed."""
    file = out / journal.NAME
    first = next(journal.events(file))["run"]
    found = find_run(first)
    lacking = (found is None or found.info.status != "FINISHED") and not _waits(first)
    if lacking:
        Sender(out, None).send(file, PATIENCE_SECONDS)
    for event in journal.events(file):
        if event["event"] == "model":
            with Turn(uri(), PATIENCE_SECONDS) as turn:
                turn.take()
                crown(event["name"], event["tags"]["data.prepared"])
    return lacking


def _waits(run: str) -> bool:
    """Whether the journal that begins with this run is still in the outbox, where another process may be sending it."""
    for folder in delivery.unsent():
        with suppress(FileNotFoundError):  # sent and deleted just now
            if any(event["run"] == run for event in islice(journal.events(folder / journal.NAME), 1)):
                return True
    return False


def _persist(work: Callable[[], T]) -> T:
    """Do what may be done twice; if a reader kept SQLite locked for longer than MLflow waits, do it again."""
    for _ in range(LOCKED_TRIES - 1):
        try:
            return work()
        except Exception as error:
            if "database is locked" not in str(error):
                raise
    return work()


def main(arguments: list[str] | None = None) -> int:
    """Send, rebuild, and say what was done."""
    argparse.ArgumentParser(
        prog="python -m pipelines.tracking",
        description="Send unsent records to MLflow and rebuild from the outs what it lacks.",
    ).parse_args(arguments)
    from pipelines.params import ParamsFaults, load

    try:
        rebuilt = sync(load())
    except ParamsFaults as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:  # whatever a server answers, a person needs one sentence
        print(f"tracking: {shown_uri()} did not take the records: {hidden(str(error))}", file=sys.stderr)
        return 1
    print(f"tracking: everything is in {shown_uri()}" + (f", {rebuilt} journal(s) rebuilt" if rebuilt else ""))
    return 0
