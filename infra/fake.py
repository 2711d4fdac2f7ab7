"""A cloud that is none: a whole provider in memory, or in one JSON file that several processes share.

For tests, and for whoever wants to see what `fifty` does without an account: `fifty up fake`. It can be told to be as
troublesome as the real ones are, see `Trouble`. Its machines do nothing but cost pretended money until they are ended,
or power themselves off at their deadline.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.cluster import DEADLINE, OWNER, PRICE, ROLE, RUN, Inventory, Leftover, Machine, Node, Offer, Rates, Run
from infra.events import Event, EventStore, follows
from infra.fake_state import Held
from infra.faults import CloudFault, NoCapacity, Refused
from infra.provider import Identity, Step
from infra.settings import CloudConfig

REGION = "nowhere"
MACHINES = (
    Offer(Machine("small", 2, 8.0), REGION, 0.10),
    Offer(Machine("gpu", 8, 32.0, "T4", 1, 16.0), REGION, 0.60, 0.20),
    Offer(Machine("gpu4", 32, 128.0, "T4", 4, 16.0), REGION, 2.40, 0.80),
)
RATES = Rates(disk_gb_month=0.08, address_hour=0.005, storage_gb_month=0.023)
MEMORY = timedelta(hours=1)


def _now() -> datetime:
    return datetime.now(UTC)


class Fake:
    """See infra/provider.py.

    Args:
        settings: of the project.
        file: where its state is kept, so that another process, or a later one, finds it; None: in memory.
        clock: tells the time.
    """

    name = "fake"

    def __init__(self, settings: CloudConfig, file: Path | None = None, clock: Callable[[], datetime] = _now) -> None:
        self.settings, self._clock, self.state = settings, clock, Held(file)

    def trouble(self, **changes: Any) -> None:
        """Change how it misbehaves from now on; the fields of `Trouble`."""
        with self.state.changing("") as state:
            state.trouble = replace(state.trouble, **changes)

    def whoami(self) -> Identity:
        """Whoever asks is `nobody`, unless the credentials are in trouble."""
        with self.state.changing("whoami") as state:
            if state.trouble.credentials:
                raise Refused(f"the fake cloud's credentials are {state.trouble.credentials}; there are none to be had")
        return Identity("account", "nobody")

    def offers(self) -> tuple[list[Offer], Rates, str]:
        """Its price list."""
        with self.state.changing("offers"):
            return list(MACHINES), RATES, "the fake cloud's price list"

    def machine(self, name: str) -> Machine:
        """Look up a kind of machine."""
        known = {offer.machine.name: offer.machine for offer in MACHINES}
        if name not in known:
            raise Refused(f"the fake cloud has no machine {name!r}; it has {', '.join(known)}")
        return known[name]

    def check(self, run: Run) -> None:
        """Refuse what is beyond the quota."""
        with self.state.changing("check") as state:
            quota = state.trouble.quota
        wanted = run.shape.workers * run.shape.worker.machine.gpus
        if quota is not None and wanted > quota:
            raise Refused(f"the fake cloud's quota is {quota} GPUs and the cluster may want {wanted}; ask for more")

    def image(self, machine: Machine) -> str:
        """There is one image."""
        with self.state.changing("image"):
            return "image-gpu" if machine.gpus else "image"

    def steps(self, run: Run, public_key: str) -> Sequence[Step]:
        """A key, a group, a profile and the deadline."""
        return [
            Step("key", lambda: self._make("key", run)),
            Step("group", lambda: self._make("group", run)),
            Step("profile", lambda: self._make("profile", run)),
            Step("deadline", lambda: self._write_deadline(run)),
        ]

    def cluster_config(self, run: Run, made: Mapping[str, str], key: Path) -> dict[str, Any]:
        """Just what `launch` reads."""
        from infra.fake_launch import render

        return render(run, made, key)

    def launched(self, run: Run, node: Node) -> None:
        """Nothing that could not be done before."""
        with self.state.changing("launched"):
            pass

    def launch(self, run: Run, role: str = "head", *, spot: bool = False) -> str:
        """Rent out a machine with its tags; what Ray does with a real cloud. Returns its id.

        Raises:
            NoCapacity: there is none to give just now.
        """
        offer = run.shape.head if role == "head" else run.shape.worker
        price = (offer.spot or offer.on_demand) if spot else offer.on_demand
        tags = {**run.tags(), ROLE: role, PRICE: str(round(price * 1e6))}
        return self.rent(tags, offer.machine.name, run.cluster, spot=spot)

    def rent(self, tags: Mapping[str, str], machine: str, cluster: str, *, spot: bool = False) -> str:
        """Rent out a machine that bears these tags alone, be they as they should or not."""
        with self.state.changing("launch") as state:
            if state.trouble.capacity:
                state.trouble = replace(state.trouble, capacity=state.trouble.capacity - 1)
                raise NoCapacity(f"the fake cloud has no {machine} to give just now")
            number = state.next()
            deadline, price = tags.get(DEADLINE), tags.get(PRICE)
            state.nodes[f"m-{number}"] = Node(
                id=f"m-{number}",
                cluster=cluster,
                run=tags.get(RUN, ""),
                role="head" if tags.get(ROLE) == "head" else "worker" if tags.get(ROLE) else None,
                state="running",
                machine=machine,
                region=REGION,
                spot=spot,
                launched=self._clock(),
                deadline=datetime.fromtimestamp(int(deadline), UTC) if deadline else None,
                price=int(price) / 1e6 if price else None,
                address=f"192.0.2.{number % 250 + 1}",
                owner=tags.get(OWNER, ""),
            )
            state.hidden[f"m-{number}"] = state.trouble.lag
            return f"m-{number}"

    def stop(self, node: str) -> None:
        """Stop a machine, so that it is off and its disk is billed; what ours never do, and a person may."""
        with self.state.changing("") as state:
            state.nodes[node] = replace(state.nodes[node], state="stopped")

    def bill(self) -> float:
        """Dollars for all machines that there ever were, by the second."""
        now = self._clock()
        with self.state.changing("") as state:
            state.pass_time(now, MEMORY)
            return state.bill(now)

    def inventory(self, *, everywhere: bool = False) -> Inventory:
        """All that it has, less what it does not tell of yet, or any more."""
        now = self._clock()
        with self.state.changing("inventory") as state:
            state.pass_time(now, MEMORY)
            shown = [node for node in state.nodes.values() if not state.hidden.get(node.id)]
            state.hidden = {node: left - 1 for node, left in state.hidden.items() if left > 1}
            return Inventory(now, tuple(shown), tuple(state.leftovers.values()), memory=MEMORY)

    def terminate(self, nodes: Iterable[Node]) -> None:
        """Begin to end machines."""
        for node in nodes:
            with self.state.changing("terminate") as state:
                known = state.nodes.get(node.id)
                if known and known.state not in ("ending", "terminated"):
                    state.nodes[node.id] = replace(known, state="ending")
                    state.ending[node.id] = state.trouble.slow
                    if not state.trouble.slow:
                        state.pass_time(self._clock(), MEMORY)

    def remove(self, leftover: Leftover) -> None:
        """Delete what is no machine; a group that has a machine in it cannot be."""
        with self.state.changing("remove") as state:
            used = any(node.costs and node.cluster == leftover.cluster for node in state.nodes.values())
            if leftover.kind in ("group", "profile") and used:
                raise CloudFault(f"{leftover.id} is in use by a machine")
            state.leftovers.pop(leftover.id, None)

    def set_deadline(self, run: Run, deadline: datetime) -> None:
        """Move the deadline of all that belongs to the run."""
        with self.state.changing("set_deadline") as state:
            if state.trouble.fixed:
                raise Refused("the fake cloud fixes a machine's deadline at its launch; `fifty down`, then `fifty up`")
            for node in [node for node in state.nodes.values() if node.run == run.id]:
                state.nodes[node.id] = replace(node, deadline=deadline)
            for thing in [thing for thing in state.leftovers.values() if thing.run == run.id]:
                state.leftovers[thing.id] = replace(thing, deadline=deadline)

    def store(self) -> EventStore:
        """The ledger in its bucket."""
        return FakeStore(self.state)

    def _make(self, kind: Any, run: Run) -> str:
        with self.state.changing(kind) as state:
            made = f"{kind}-{run.cluster}"
            state.leftovers.setdefault(made, Leftover(kind, made, run.cluster, REGION, run.deadline, run.id))
            return made

    def _write_deadline(self, run: Run) -> str:
        with self.state.changing("deadline"):
            return str(int(run.deadline.timestamp()))


@dataclass(frozen=True)
class FakeStore:
    """Events in the fake's own state: an event's number can be taken once."""

    state: Held

    def read(self) -> list[Event]:
        """Return all events."""
        with self.state.changing("read") as state:
            return list(state.events)

    def append(self, event: Event) -> None:
        """Keep one more.

        Raises:
            Taken: there is one of this number.
        """
        with self.state.changing("append") as state:
            follows(event, len(state.events))
            state.events.append(event)
