"""What the fake cloud holds and how it misbehaves; in memory, or in a file that processes take turns at."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cluster import Leftover, Node
from infra.events import Event
from infra.faults import CloudFault, Throttled

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class Trouble:
    """How it misbehaves.

    Attributes:
        credentials: "missing" or "expired".
        quota: GPUs that may be rented at once; None: any number.
        capacity: so many launches find no machine to be had.
        throttle: so many of the next calls of each method are throttled.
        fail: so many of the next calls of each method fail.
        lag: so many inventories do not yet tell of a machine that was launched.
        slow: so many inventories pass until a machine that is ending has ended.
        fixed: the deadline cannot be moved, as on GCP.
        undying: machines do not power off at their deadline.
        hang: launches never return, once the machine is there.
    """

    credentials: str = ""
    quota: int | None = None
    capacity: int = 0
    throttle: dict[str, int] = field(default_factory=dict)
    fail: dict[str, int] = field(default_factory=dict)
    lag: int = 0
    slow: int = 0
    fixed: bool = False
    undying: bool = False
    hang: bool = False


@dataclass
class FakeState:
    """All of it."""

    nodes: dict[str, Node] = field(default_factory=dict)
    leftovers: dict[str, Leftover] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    hidden: dict[str, int] = field(default_factory=dict)
    ending: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    trouble: Trouble = Trouble()
    number: int = 0
    billed: float = 0.0  # dollars for machines that are forgotten

    def bill(self, now: datetime) -> float:
        """Dollars for all machines that there ever were, by the second."""
        return self.billed + sum(_dollars(node, now) for node in self.nodes.values())

    def next(self) -> int:
        """A number that nothing here has."""
        self.number += 1
        return self.number

    def pass_time(self, now: datetime, memory: timedelta) -> None:
        """Power off what is past its deadline, end what was ending long enough, forget what ended long ago."""
        for id_, node in list(self.nodes.items()):
            if node.state == "running" and node.deadline and node.deadline <= now and not self.trouble.undying:
                self.nodes[id_] = replace(node, state="terminated", ended=node.deadline)
            if node.state == "ending":
                left = self.ending.get(id_, 0)
                self.ending[id_] = left - 1
                if left <= 0:
                    self.nodes[id_] = replace(node, state="terminated", ended=now)
            node = self.nodes[id_]
            ended = node.ended
            if ended and ended + memory < now:
                self.billed += _dollars(node, now)
                del self.nodes[id_]

    def called(self, method: str) -> None:
        """Count a call, and fail if that is due."""
        self.calls = dict(Counter(self.calls) + Counter([method]))
        for due, fault in ((self.trouble.throttle, Throttled), (self.trouble.fail, CloudFault)):
            if due.get(method):
                due[method] -= 1
                raise fault(f"the fake cloud's {method} {'is throttled' if fault is Throttled else 'failed'}")


def _dollars(node: Node, now: datetime) -> float:
    return (node.price or 0.0) * ((node.ended or now) - node.launched).total_seconds() / 3600


class Held:
    """The state, and whose turn it is."""

    def __init__(self, file: Path | None) -> None:
        self._file, self._state, self._turn = file and file.resolve(), FakeState(), threading.RLock()

    @contextmanager
    def changing(self, method: str) -> Iterator[FakeState]:
        """Have the state to oneself; what was changed is kept, after a fault too.

        Args:
            method: what is being called, for `Trouble`; empty: nothing that can fail.
        """
        with self._turn, self._among_processes():
            state = self._read()
            try:
                if method:
                    state.called(method)
                yield state
            finally:
                self._write(state)

    def look(self) -> FakeState:
        """The state as it is now; for tests."""
        with self._turn, self._among_processes():
            return self._read()

    def _among_processes(self) -> "nullcontext[None]":
        if self._file is None:
            return nullcontext()
        from filelock import FileLock

        self._file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._file.with_suffix(".lock"))  # type: ignore[return-value]

    def _read(self) -> FakeState:
        if self._file is None or not self._file.exists():
            return self._state
        return _form().validate_json(self._file.read_bytes())

    def _write(self, state: FakeState) -> None:
        if self._file is None:
            self._state = state
            return
        part = self._file.with_suffix(".part")
        part.write_bytes(_form().dump_json(state, indent=1))
        part.replace(self._file)


@cache
def _form() -> "TypeAdapter[FakeState]":
    from pydantic import TypeAdapter

    return TypeAdapter(FakeState)
