"""Plays one history, and checks what must be true in every one."""

from dataclasses import dataclass
from functools import partial

from infra.cluster import Run
from infra.ledger import Ledger
from infra.node import rules
from infra.simulator.cloud import Cloud
from infra.simulator.nodes import Computer, Layers
from infra.simulator.people import MARGIN, RATES, SKEW, Person, Shared, shape_of
from infra.simulator.ray import Head
from infra.simulator.world import Happening, History, World

CENT = 1e-9  # floats
COMMAND = 900.0  # seconds that a command takes at most
OUTAGE = 3600.0  # seconds that an outage lasts at most
ALL = Layers()


class Broken(AssertionError):
    """An invariant does not hold; says which, when and by how much."""


@dataclass(frozen=True)
class Verdict:
    """How a history ended: dollars spent, machines launched, events of the ledger, the latest end past a deadline."""

    dollars: float
    machines: int
    events: int
    latest: float


class Play:
    """One history being played."""

    def __init__(self, history: History, layers: Layers) -> None:
        self.history, self.layers = history, layers
        self.world = World(history.seed)
        self.cloud = Cloud(self.world, history.interruptions, platform=history.platform)
        self.ledger = Shared(layers, self._check_money)
        shape = shape_of(history.workers, spot=history.spot, price=history.price)
        settings = history.budget, history.hours
        self.people: list[Person] = []
        self.heads: list[list[Head]] = [[] for _ in range(history.people)]
        self.setups = ["work"] * history.people
        for who in range(history.people):
            person = Person(f"c{who}", self.cloud, self.ledger, shape, settings, layers)
            person.launch_head = partial(self._launch_head, who)
            self.people.append(person)
        for happening in history.happenings:
            self.world.after(happening.minute * 60, partial(self._happen, happening))

    def run(self) -> Verdict:
        """Play it to the end: until whatever may be on is off, and somebody has cleared up.

        Raises:
            Broken: an invariant does not hold.
        """
        self.world.run(max((happening.minute * 60 for happening in self.history.happenings), default=0.0) + COMMAND)
        while (end := max((self._end(run) for run in self._runs()), default=0.0)) > self.world.seconds:
            self.world.run(end)
        self._check_ends()
        self.cloud.out_until, self.ledger.rivals = 0.0, []
        cleaner = Person("cleaner", self.cloud, self.ledger, self.people[0].shape, (0.0, 0.0), self.layers)
        self.world.run(self.world.seconds + (MARGIN + 2 * SKEW - rules.GRACE).total_seconds())
        cleaner.type(cleaner.reap(self.people))
        self.world.run(self.world.seconds + COMMAND)
        self._check_money()
        open_runs = Ledger(self.ledger.read()).open_runs()
        if open_runs:
            raise Broken(f"after `reap` {open_runs[0].id} is still open")
        dollars = sum(self.cloud.dollars(run.id, RATES) for run in self._runs())
        latest = max(((m.ended or 0) - self._deadline(m.run) for m in self.cloud.rented), default=0.0)
        return Verdict(dollars, len(self.cloud.rented), len(self.ledger.read()), latest)

    def _runs(self) -> list[Run]:
        return [run for person in self.people for run in person.runs]

    def _deadline(self, run: Run) -> float:
        account = Ledger(self.ledger.read()).run(run.id)
        return self.world.since((account and account.deadline) or run.deadline)

    def _end(self, run: Run) -> float:
        return self._deadline(run) + rules.GRACE.total_seconds()

    def _check_money(self) -> None:
        """The spend of all is within the budget, and that of each run within what the ledger has bound for it."""
        ledger, dollars = Ledger(self.ledger.read()), 0.0
        if ledger.committed() > self.history.budget + CENT:
            raise Broken(f"${ledger.committed():.4f} are committed of a budget of ${self.history.budget:.4f}")
        for run in self._runs():
            spent, account = self.cloud.dollars(run.id, RATES), ledger.run(run.id)
            bound, dollars = account.committed if account else 0.0, dollars + spent
            if spent > bound + CENT:
                raise Broken(f"{run.id} has spent ${spent:.4f}, and ${bound:.4f} are committed for it")
        if dollars > self.history.budget + CENT:
            raise Broken(f"${dollars:.4f} are spent of a budget of ${self.history.budget:.4f}")

    def _check_ends(self) -> None:
        """Nothing lives past its deadline, nor a worker without its head, by more than is stated."""
        for machine in self.cloud.rented:
            late = (machine.ended or self.world.seconds + 1) - self._end(machine.run)
            if late > 0:
                raise Broken(f"{machine.role} {machine.id} of {machine.run.id} lived {late:.0f} s past the grace")
        for head in (head for heads in self.heads for head in heads):
            for worker in head.launched:
                alone = (worker.rented.ended or 0) - (head.rented.ended or 0)
                if worker.watchdog_alive and alone > worker.without_head().total_seconds():
                    raise Broken(f"worker {worker.rented.id} lived {alone:.0f} s without its head")

    def _launch_head(self, who: int, run: Run) -> None:
        rented, history = self.cloud.launch(run, "head", spot=False), self.history
        head = Head(self.cloud, rented, self.setups[who], self.layers)
        head.begin(history.work_hours * 3600, self.setups[who], spot=history.spot)
        self.heads[who].append(head)

    def _happen(self, it: Happening) -> None:
        who = it.who % len(self.people)
        person, rival = self.people[who], self.people[(who + 1) % len(self.people)]
        until = self.world.seconds + it.strength * OUTAGE
        match it.kind:
            case "up" | "status":
                person.type(getattr(person, it.kind)())
            case "down":
                person.type(person.down(person))
            case "rival down":
                rival.type(rival.down(person))
            case "rival up":
                self.ledger.rivals.append(rival.rush)
            case "reap":
                person.type(person.reap(self.people))
            case "extend":
                person.type(person.extend(2 * it.strength))
            case "interrupt":
                person.interrupt()
            case "lose records":
                person.record = None
            case "lose laptop":
                person.interrupt()
                person.lost = True
            case "outage":
                self.cloud.out_until = until
            case "no spot":
                self.cloud.no_spot_until = until
            case "no machines":
                self.cloud.none_until = until
            case "spot wave":
                self.cloud.wave(it.strength)
            case "set-ups fail" | "set-ups hang":
                self.setups[who] = "fail" if it.kind.endswith("fail") else "hang"
                for head in self.heads[who]:
                    head.setups = self.setups[who]
            case _:
                for head in self.heads[who]:
                    hurt(head, it)


def hurt(head: Head, it: Happening) -> None:
    """Something befalls a head, or one of its workers."""
    nodes: list[Computer] = [head, *head.workers]
    node = nodes[int(it.strength * len(nodes)) % len(nodes)]
    match it.kind:
        case "head vanishes":
            head.cloud.take(head.rented)
        case "worker vanishes":
            for worker in head.workers[:1]:
                worker.cut = True
        case "monitor dies":
            head.monitor_alive = False
        case "driver dies":
            head.driver_alive = False
        case "reboot":
            node.reboot()
        case "watchdog dies":
            node.watchdog_alive = not node.timer_alive
        case "timer dies":
            node.timer_alive = not node.watchdog_alive
        case _:
            raise ValueError(it.kind)


def play(history: History, layers: Layers = ALL) -> Verdict:
    """Play a history.

    Args:
        layers: what is there to see to it that everything ends; a test takes one away.

    Raises:
        Broken: an invariant does not hold.
    """
    return Play(history, layers).run()
