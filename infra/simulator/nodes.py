"""Pretended nodes: a head with Ray's monitor and a driver, workers; each with the real rules of infra/node/rules.py.

What is pretended is what the rules look at and what they act on; what is decided, they decide.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from infra.faults import CloudFault
from infra.node import rules
from infra.simulator.cloud import Cloud, Rented

IDLE_MINUTES = 10.0


@dataclass(frozen=True)
class Layers:
    """What sees to it that everything ends; a test takes one away and expects the invariants to break."""

    timer: bool = True  # the dead-man's switch
    watchdog_deadline: bool = True  # the watchdog knows the deadline too
    headless: bool = True  # a worker ends without a head
    absolute: bool = True  # the deadline is a moment, not an allowance that each node gets anew
    on_demand: bool = True  # workers are reserved at their on-demand price
    shared_ledger: bool = True  # whoever loses the race for a number decides anew
    patient_settling: bool = True  # who cannot know of a launch under way waits for the deadline before settling


class Computer:
    """A machine as it is within: its clock, its two timers, and what they remember."""

    role = "head"

    def __init__(self, cloud: Cloud, rented: Rented, setup: str, layers: Layers) -> None:
        self.cloud, self.world, self.rented, self.layers, self.setup = cloud, cloud.world, rented, layers, setup
        random = self.world.random
        self.skew = random.uniform(-1, 1) * rules.SKEW.total_seconds()
        self.timer_alive, self.watchdog_alive = layers.timer, True
        self.going = self.booted = False
        self.ready_at: datetime | None = None
        self.told: tuple[datetime, datetime] | None = None
        self.memory: rules.View | None = None
        self.own = rented.run.deadline
        if not layers.absolute:
            self.own = self.world.now() + (rented.run.deadline - rented.run.start)
        self.world.after(random.uniform(0.2, 1) * rules.BOOT.total_seconds(), self.boot)

    @property
    def up(self) -> bool:
        """Whether programs run on it."""
        return self.booted and not self.going and self.rented.ended is None

    @property
    def ready(self) -> bool:
        """Whether it is set up and Ray runs on it."""
        return self.up and self.ready_at is not None

    def now(self) -> datetime:
        """The time by its own clock."""
        return self.world.now(self.skew)

    def boot(self) -> None:
        """UserData, before anything else: the first check, then the timers, which a reboot does not end."""
        if self.rented.ended is not None:
            return
        self.booted, self.first = True, self.now()
        self.world.after(0, self.timer)
        self.world.after(self.world.random.uniform(0, rules.PERIOD.total_seconds()), self.watchdog)
        if self.setup == "work":
            self.world.after(self.world.random.uniform(60, 600), self.is_set_up)

    def reboot(self) -> None:
        """Off and on again: Ray is gone, the timers are not."""
        if self.up:
            self.booted = False
            self.lose_ray()
            self.world.after(rules.BOOT.total_seconds() * self.world.random.random(), self.back)

    def back(self) -> None:
        """It is up again, and the timers fire at once."""
        if self.rented.ended is None and not self.going:
            self.booted = True
            if self.timer_alive and rules.is_over(self.now(), self.deadline()[0]):
                self.power_off()

    def lose_ray(self) -> None:
        """Ray has ended on this machine."""

    def is_set_up(self) -> None:
        """The set-up is done."""
        if self.up:
            self.ready_at = self.now()

    def deadline(self) -> tuple[datetime, bool]:
        """Read the cluster's deadline from outside, if it can be read, and choose."""
        if not self.layers.absolute:
            return self.own, True
        try:
            self.cloud.call()
            if self.rented.run.id in self.cloud.told:
                self.told = self.cloud.told[self.rented.run.id], self.now()
        except CloudFault:
            pass
        told, told_at = self.told or (None, None)
        return rules.in_force(self.own, told, told_at, self.now())

    def timer(self) -> None:
        """The dead-man's switch."""
        if self.rented.ended is not None or self.going or not self.timer_alive:
            return
        if self.booted and rules.is_over(self.now(), self.deadline()[0]):
            self.power_off()
        self.world.after(rules.PERIOD.total_seconds(), self.timer)

    def watchdog(self) -> None:
        """Look, decide, act."""
        if self.rented.ended is not None or self.going or not self.watchdog_alive:
            return
        if self.booted:
            self.memory = rules.carry(self.memory, self.view())
            self.act(rules.decide(self.memory))
        self.world.after(rules.PERIOD.total_seconds(), self.watchdog)

    def view(self) -> rules.View:
        """What this node sees."""
        return self.seen()

    def seen(self, **more: Any) -> rules.View:
        """What every node sees, and `more`."""
        deadline, known = self.deadline()
        if not self.layers.watchdog_deadline:
            deadline = datetime.max.replace(tzinfo=deadline.tzinfo)
        return rules.View(
            now=self.now(),
            role=self.role,
            deadline=deadline,
            deadline_known=known,
            booted=self.first,
            ready_at=self.ready_at,
            idle_minutes=IDLE_MINUTES,
            **more,
        )

    def act(self, action: rules.Action) -> None:
        """Do what the rules say."""
        if action.kind == rules.END_SELF:
            self.power_off()

    def power_off(self) -> None:
        """`shutdown -h now`: programs end at once, the bill a little later."""
        if not self.going:
            self.going = True
            seconds = rules.SHUTDOWN.total_seconds() * self.world.random.random()
            self.world.after(seconds, lambda: self.cloud.end(self.rented))
