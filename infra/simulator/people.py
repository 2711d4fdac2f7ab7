"""Pretended people at their machines: they type commands, interrupt them, lose their files or the whole machine.

The commands take the same steps in the same order as the real ones, with the real budget and the real ledger; between
any two steps anything may happen, and the command may be killed.
"""

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from infra.budget import latest_deadline, worst_case
from infra.cluster import Machine, Node, Offer, Rates, Run, Shape
from infra.events import Event, EventStore, MemoryStore
from infra.faults import CloudFault, Fault, Refused
from infra.ledger import Ledger, observe, reserve, settle
from infra.simulator.cloud import UNSEEN, Cloud
from infra.simulator.nodes import Layers

RATES = Rates(disk_gb_month=0.08, address_hour=0.005, storage_gb_month=0.023)
MARGIN = timedelta(minutes=5)  # the least that cloud.margin_minutes may be
SKEW = timedelta(seconds=30)  # of the clocks of those who launch; MARGIN covers it and rules.GRACE
SHORTEST = timedelta(minutes=10)  # a cluster that may live for less is not worth its set-up

Command = Generator[float, None, None]  # yields how many seconds pass before its next step


def shape_of(workers: int, *, spot: bool, price: float = 0.53) -> Shape:
    """A head that costs a little, workers with a GPU at a price per hour; a third of it on spot."""
    head = Offer(Machine("head", 2, 8.0), "nowhere", 0.10)
    worker = Offer(Machine("worker", 4, 16.0, "T4", 1, 16.0), "nowhere", price, price / 3)
    return Shape(head, worker, workers, spot, head_disk_gb=60, worker_disk_gb=60)


class Shared:
    """The ledger that all share; `rivals` write to it just before somebody else does; `changed` looks at it after."""

    def __init__(self, layers: Layers, changed: Callable[[], None]) -> None:
        self.store, self.layers, self.changed = MemoryStore(), layers, changed
        self.rivals: list[Callable[[], None]] = []

    def read(self) -> list[Event]:
        """All events."""
        return self.store.read()

    def append(self, event: Event) -> None:
        """Keep an event, unless somebody was faster."""
        if self.rivals:
            self.rivals.pop()()
        if not self.layers.shared_ledger:  # a store that overwrites nothing and refuses nothing
            event = replace(event, number=len(self.store.read()) + 1)
        self.store.append(event)
        self.changed()


class Person:
    """One machine with one cluster of its own.

    Attributes:
        record: what its disk knows of the cluster, if there is one.
        launch_head: makes a head in the cloud and all that runs on it.
    """

    def __init__(
        self, name: str, cloud: Cloud, store: EventStore, shape: Shape, settings: tuple[float, float], layers: Layers
    ) -> None:
        self.name, self.cloud, self.world, self.store, self.shape = name, cloud, cloud.world, store, shape
        (self.budget, self.hours), self.layers = settings, layers
        self.record: Run | None = None
        self.runs: list[Run] = []
        self.lost = False
        self.skew = self.world.random.uniform(-1, 1) * SKEW.total_seconds()
        self.command: Command | None = None
        self.launch_head: Callable[[Run], None] = lambda run: None

    @property
    def now(self) -> datetime:
        """The time by the machine's own clock."""
        return self.world.now(self.skew)

    def type(self, command: Command) -> None:
        """Begin a command, unless another is at work or the machine is gone."""
        if self.command is None and not self.lost:
            self.command = command
            self._step()

    def interrupt(self) -> None:
        """`kill -9`."""
        self.command = None

    def rush(self) -> None:
        """Reserve within a moment, and go no further."""
        if self.command is None and self.record is None and not self.lost:
            with suppress(Fault):
                self.record = self._new_run(self.cloud.inventory().nodes)
                self._reserve(self.record, self.record.deadline)

    def _step(self, command: Command | None = None) -> None:
        running = self.command
        if running is None or (command is not None and command is not running):
            return
        try:
            seconds = next(running)
        except (StopIteration, Fault):
            self.command = None
            return
        self.world.after(seconds, lambda: self._step(running))

    def up(self) -> Command:
        """Reserve first, launch second; or adopt what a killed `up` has left."""
        inventory = self.cloud.inventory()
        yield 2
        run = self.record or self._new_run(inventory.nodes)
        self.record = run
        yield 1
        self._reserve(run, run.deadline)
        yield 5
        self.cloud.call()
        self.cloud.told[run.id] = self._deadline(run)
        yield 20
        self._still_reserved(run)
        yield 15
        if not self.cloud.alive(run.id, "head"):
            self.launch_head(run)
        yield UNSEEN + 5
        observe(self.store, run.id, self.cloud.inventory())
        try:
            self._still_reserved(run)
        except Refused:
            self.cloud.terminate([machine.id for machine in self.cloud.alive(run.id)])

    def _still_reserved(self, run: Run) -> None:
        """Somebody may have ended and settled the run in the meantime."""
        account = Ledger(self.store.read()).run(run.id)
        if account is None or account.settled is not None or self._deadline(run) <= self.now:
            raise Refused("the run is over")

    def _new_run(self, nodes: tuple[Node, ...]) -> Run:
        if any(node.costs and node.cluster == self.name for node in nodes):
            raise Refused("there is a cluster of this name; `fifty down` first")
        left = self.budget - Ledger(self.store.read()).committed()
        latest = latest_deadline(self.shape, RATES, self.now, MARGIN, left)
        deadline = min(self.now + timedelta(hours=self.hours), latest)
        if deadline - self.now < SHORTEST:
            raise Refused("the budget does not last long enough")
        name = f"{self.name}-{len(self.runs)}"
        run = Run(name, self.name, "fifty", "pretended", "nowhere", self.shape, self.now, deadline, self.name)
        self.runs.append(run)
        return run

    def _reserve(self, run: Run, deadline: datetime) -> None:
        shape = run.shape
        if not self.layers.on_demand:
            shape = replace(shape, worker=replace(shape.worker, on_demand=shape.worker.spot or 0.0))
        dollars = worst_case(shape, RATES, run.start, deadline, MARGIN).total
        account = Ledger(self.store.read()).run(run.id)
        if account is None or (account.deadline is not None and account.deadline < deadline):
            reserve(self.store, self.budget, run.id, dollars, deadline, self.now)

    def _deadline(self, run: Run) -> datetime:
        account = Ledger(self.store.read()).run(run.id)
        return account.deadline if account is not None and account.deadline is not None else run.deadline

    def extend(self, hours: float) -> Command:
        """A later deadline: reserved first, then told to the nodes."""
        run = self.record
        if run is None or self.cloud.platform:
            raise Refused("there is no cluster, or its deadline is fixed")
        self.cloud.inventory()
        yield 2
        deadline = self._deadline(run) + timedelta(hours=hours)
        if Ledger(self.store.read()).run(run.id) is None:
            raise Refused("nothing is reserved")
        self._reserve(run, deadline)
        yield 2
        self.cloud.call()
        self.cloud.told[run.id] = deadline

    def status(self) -> Command:
        """Write down what the cloud tells of every open run."""
        inventory = self.cloud.inventory()
        yield 2
        for account in Ledger(self.store.read()).open_runs():
            observe(self.store, account.id, inventory)

    def down(self, owner: "Person") -> Command:
        """End a cluster, one's own or somebody else's; then settle and forget it."""
        yield from self._end(lambda node: node.cluster == owner.name)
        for run in owner.runs:
            self._close(run, mine=owner is self)
            yield 1
        if owner is self:
            self.cloud.told.pop(self.record.id if self.record else "", None)
            self.record = None

    def reap(self, everybody: list["Person"]) -> Command:
        """End whatever is past its deadline."""
        yield from self._end(lambda node: node.deadline is not None and node.deadline <= self.now)
        for run in [run for person in everybody for run in person.runs]:
            if self._deadline(run) <= self.now:
                self._close(run, mine=False)

    def _end(self, ours: Callable[[Node], bool]) -> Command:
        quiet = 0
        for _ in range(60):
            with suppress(CloudFault):
                inventory = self.cloud.inventory()
                nodes = [node for node in inventory.nodes if ours(node)]
                for run_id in {node.run for node in nodes}:
                    observe(self.store, run_id, inventory)
                self.cloud.terminate([node.id for node in nodes if node.costs])
                # What was launched a moment ago is not told of yet: look once more.
                quiet = 0 if any(node.costs for node in nodes) else quiet + 1
                if quiet == 2:
                    return
            yield UNSEEN + 2
        raise CloudFault("the cloud does not confirm")

    def _close(self, run: Run, *, mine: bool) -> None:
        """Settle a run of which nothing is left.

        Somebody else may be about to launch a head for it: who is not its owner waits until it would be off at once.
        """
        account = Ledger(self.store.read()).run(run.id)
        deadline = self._deadline(run)
        patient = self.layers.patient_settling and not mine
        if account is None or account.settled is not None or (patient and self.now < deadline + MARGIN):
            return
        inventory = self.cloud.inventory()
        if not any(node.run == run.id and node.costs for node in inventory.nodes):
            observe(self.store, run.id, inventory)
            settle(self.store, replace(run, deadline=deadline), RATES, self.now, margin=MARGIN)
