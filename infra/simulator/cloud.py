"""A pretended cloud: rents out machines, meters them to the second, tells what there is, and fails now and then."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from infra.budget import SPOT_HEADROOM
from infra.cluster import Inventory, Node, Rates, Role, Run
from infra.faults import CloudFault, NoCapacity
from infra.simulator.world import World

MEMORY = timedelta(hours=1)  # so long the cloud tells of machines that have ended
UNSEEN = 8.0  # so many seconds may pass before the cloud tells of a machine that it has launched
LEAST = 60.0  # seconds that are billed at least


@dataclass(eq=False)
class Rented:
    """A machine in the cloud's books; seconds since the beginning of the world.

    Attributes:
        price: dollars per hour when it was launched.
        later_price: what a spot machine costs from `changed` on.
        seen_from: from when the cloud tells of it.
        taken: the cloud has taken it away, and bills no least time for it.
    """

    id: str
    run: Run
    role: Role
    spot: bool
    price: float
    launched: float
    later_price: float
    changed: float
    seen_from: float
    ended: float | None = None
    taken: bool = False

    def dollars(self, now: float, rates: Rates) -> float:
        """What has been paid for it, its disk and its address, by `now`."""
        end = now if self.ended is None else self.ended
        end = end if self.taken else max(end, self.launched + LEAST)
        first = min(end, self.changed) - self.launched
        gigabytes = self.run.shape.head_disk_gb if self.role == "head" else self.run.shape.worker_disk_gb
        besides = gigabytes * rates.disk_gb_month / 730 + rates.address_hour
        alive = end - self.launched
        return (self.price * first + self.later_price * (alive - first) + besides * alive) / 3600


class Cloud:
    """One region of a cloud.

    Attributes:
        platform: it ends machines at their deadline by itself.
        told: the deadlines kept outside the nodes, by run.
        out_until, no_spot_until, none_until: until when the API is down, there is no spot, no machine at all.
    """

    def __init__(self, world: World, interruptions: float, *, platform: bool) -> None:
        self.world, self.platform = world, platform
        self.interruptions = interruptions
        self.told: dict[str, datetime] = {}
        self.rented: list[Rented] = []
        self._runs: dict[str, list[Rented]] = {}
        self.out_until = self.no_spot_until = self.none_until = 0.0

    def call(self) -> None:
        """Reach the API.

        Raises:
            CloudFault: it is down.
        """
        if self.world.seconds < self.out_until:
            raise CloudFault("the API does not answer")

    def launch(self, run: Run, role: Role, *, spot: bool) -> Rented:
        """Start a machine.

        Raises:
            CloudFault: the API is down.
            NoCapacity: there is none.
        """
        self.call()
        now, random = self.world.seconds, self.world.random
        if now < self.none_until or (spot and now < self.no_spot_until):
            raise NoCapacity("none to be had")
        offer = run.shape.head if role == "head" else run.shape.worker
        price = (offer.spot or offer.on_demand) if spot else offer.on_demand
        later = min(price * random.uniform(0.8, SPOT_HEADROOM), offer.on_demand) if spot else price
        changed, seen_from = now + random.uniform(0, 3600), now + random.uniform(0, UNSEEN)
        machine = Rented(f"i-{len(self.rented)}", run, role, spot, price, now, later, changed, seen_from)
        self.rented.append(machine)
        self._runs.setdefault(run.id, []).append(machine)
        if spot and self.interruptions:
            self.world.after(random.expovariate(self.interruptions / 3600), lambda: self.take(machine))
        if self.platform:
            self.world.after(max(0.0, self.world.since(run.deadline) - now), lambda: self.end(machine))
        return machine

    def end(self, machine: Rented) -> None:
        """A machine is gone, by itself or by whoever asked; it costs nothing from now on."""
        if machine.ended is None:
            machine.ended = self.world.seconds

    def take(self, machine: Rented) -> None:
        """The cloud takes a machine back."""
        machine.taken = machine.taken or machine.ended is None
        self.end(machine)

    def wave(self, share: float) -> None:
        """The cloud takes many a spot machine back at once."""
        for machine in self.rented:
            if machine.spot and machine.ended is None and self.world.random.random() < share:
                self.take(machine)

    def dollars(self, run_id: str, rates: Rates) -> float:
        """What a run's machines have cost by now, in truth."""
        return sum(machine.dollars(self.world.seconds, rates) for machine in self.of_run(run_id))

    def of_run(self, run_id: str) -> list[Rented]:
        """All machines that a run ever had."""
        return self._runs.get(run_id, [])

    def terminate(self, ids: list[str]) -> None:
        """End machines by name; those that are gone are no fault.

        Raises:
            CloudFault: the API is down.
        """
        self.call()
        for machine in self.rented:
            if machine.id in ids:
                self.end(machine)

    def alive(self, run_id: str, role: Role | None = None) -> list[Rented]:
        """The machines of a run that cost money, in truth."""
        return [m for m in self.of_run(run_id) if m.ended is None and role in (None, m.role)]

    def inventory(self) -> Inventory:
        """Tell of all machines that there are, and of those that ended a while ago.

        Raises:
            CloudFault: the API is down.
        """
        self.call()
        now, old = self.world.seconds, self.world.seconds - MEMORY.total_seconds()
        known = [m for m in self.rented if m.seen_from <= now and (m.ended is None or m.ended > old)]
        return Inventory(at=self.world.now(), nodes=tuple(self._node(machine) for machine in known), memory=MEMORY)

    def _node(self, machine: Rented) -> Node:
        run, moment = machine.run, self.world.moment
        return Node(
            id=machine.id,
            cluster=run.cluster,
            run=run.id,
            role=machine.role,
            state="running" if machine.ended is None else "terminated",
            machine=(run.shape.head if machine.role == "head" else run.shape.worker).machine.name,
            region=run.region,
            spot=machine.spot,
            launched=moment(machine.launched),
            deadline=self.told.get(run.id, run.deadline),
            price=machine.price,
            ended=None if machine.ended is None else moment(machine.ended),
        )
