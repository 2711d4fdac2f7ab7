"""How many workers there are, and how many set-ups of workers have failed in a row.

Ray's launcher writes on each machine, as a tag, how far its set-up has come; `update-failed` stands there for half a
minute at least before the machine is ended and replaced. A set-up that hangs until the machine is ended has failed too.
"""

from __future__ import annotations  # for Python 3.9

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from infra.node import facts as here
from infra.node.cloud import Worker, connect
from infra.node.facts import Facts

FILE = "setups.json"
HANGS = timedelta(minutes=10)  # a machine that ends after so long without having been ready


@dataclass
class Book:
    """What is remembered.

    Attributes:
        workers: how many cost money.
        serving: how many of them are set up.
        failed: how many set-ups have failed since the last that did not.
        ready, ended, lost: ids of machines that were set up, have ended, were counted as failed.
    """

    workers: int = 0
    serving: int = 0
    failed: int = 0
    ready: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def count(facts: Facts, now: datetime) -> Book:
    """Ask the cloud, and remember; what was known before if it cannot be asked."""
    book = _load()
    try:
        workers = connect(facts).workers()
    except (OSError, ValueError, KeyError) as error:
        print(f"fifty: the workers cannot be listed: {error}")
        return book
    book = note(book, [worker for worker in workers if worker.launched >= here.booted()], now, facts.pace)
    here.write(FILE, json.dumps(asdict(book)))
    return book


def ready() -> int | None:
    """How many workers were set up and there at the last look; None if the cloud has never told."""
    return None if here.read(FILE) is None else _load().serving


def note(book: Book, workers: list[Worker], now: datetime, pace: float = 1.0) -> Book:
    """Add one look at the workers to what is remembered; pure."""
    fine = {worker.id for worker in workers if worker.status == "up-to-date"}
    lost = set()
    for worker in workers:
        hung = not worker.costs and worker.id not in book.ended and now - worker.launched >= HANGS * pace
        if worker.status == "update-failed" or (hung and worker.id not in fine):
            lost.add(worker.id)
    lost -= {*book.lost, *book.ready}
    return Book(
        workers=sum(worker.costs for worker in workers),
        serving=sum(worker.costs and worker.id in fine for worker in workers),
        ready=sorted(fine | set(book.ready)),
        ended=sorted({worker.id for worker in workers if not worker.costs} | set(book.ended)),
        failed=(0 if fine - set(book.ready) else book.failed) + len(lost),
        lost=sorted(lost | set(book.lost)),
    )


def _load() -> Book:
    try:
        return Book(**json.loads(here.read(FILE) or "{}"))
    except (TypeError, ValueError):
        return Book()
