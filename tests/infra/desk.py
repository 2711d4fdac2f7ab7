"""A person at a desk: a folder, a fake cloud, a clock that only waiting moves, and all that was said to them."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from infra import record
from infra.context import Context
from infra.fake import REGION, Fake
from infra.fake_launch import FakeUp
from infra.ledger import Ledger
from infra.record import Record
from infra.settings import CloudConfig

HOME = "203.0.113.7/32"


@dataclass
class Clock:
    """Tells the time, and never waits."""

    now: datetime = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Desk:
    """See above; `context` is what commands are called with."""

    context: Context
    fake: Fake
    clock: Clock
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.context.store.read())

    @property
    def kept(self) -> Record | None:
        return record.load(self.context.settings.cluster)

    def alive(self) -> list[str]:
        """The roles of the machines that cost money."""
        return sorted(str(node.role) for node in self.fake.state.look().nodes.values() if node.costs)

    def again(self, **changes: Any) -> "Desk":
        """The same person with another world, as `provider` or `launch`."""
        return replace(self, context=replace(self.context, **changes))

    def assert_nothing_left(self) -> None:
        """Everything is gone from the cloud, the books are closed, and this machine has forgotten."""
        state = self.fake.state.look()
        assert [node for node in state.nodes.values() if node.costs] == []
        assert state.leftovers == {}
        assert self.ledger.open_runs() == []
        assert self.kept is None
        assert not record.file(self.context.settings.cluster, ".pem").exists()


def desk(fake: Fake | None = None, clock: Clock | None = None, *, workers: int = 0, **section: Any) -> Desk:
    """Sit down.

    Args:
        workers: so many are launched together with the head.
        section: what differs from the section's defaults.
    """
    settings = CloudConfig(**{"ssh_from": HOME, **section})
    clock = clock or Clock()
    fake = fake or Fake(settings, clock=clock)
    said: list[str] = []
    warned: list[str] = []
    context = Context(
        settings, fake, REGION, FakeUp(fake, workers), said.append, warned.append, clock, clock.sleep, lambda: HOME
    )
    return Desk(context, fake, clock, said, warned)
