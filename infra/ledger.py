"""The ledger: an append-only list of what was reserved, launched, seen, ended and settled, and what follows from it.

Every change is decided on what the store holds and appended under the next number; when somebody else took that
number, it is decided anew. Two machines that share a budget therefore cannot both spend its last dollar. Pure but for
the stores: events in memory, in one file of this machine (`LocalStore`), or in a bucket (a provider's).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from infra.account import Account, Ledger
from infra.cluster import Inventory, Node, Rates, Run
from infra.events import Event, EventStore, Kind, MemoryStore, Taken, decode, encode
from infra.faults import Fault, Refused
from infra.history import Life, cost, observations
from infra.ledger_file import LocalStore

__all__ = [
    "Account",
    "Event",
    "EventStore",
    "Kind",
    "Ledger",
    "LocalStore",
    "MemoryStore",
    "Taken",
    "cost_so_far",
    "decode",
    "encode",
    "observe",
    "reserve",
    "settle",
]

# Each refused number means that somebody else has come further, so that this is never reached but by a broken store.
MOST_ATTEMPTS = 1000
# Nothing has changed since the last look, and that was a short while ago as clouds remember: not worth an event.
FRESH = 1 / 10
FRESH_END = timedelta(minutes=1)


def reserve(store: EventStore, budget: float, run_id: str, dollars: float, deadline: datetime, now: datetime) -> Event:
    """Reserve what a run may cost at most, before its first machine is asked for.

    A run that has a reservation gets the new one in its place, which is how its deadline is moved; it never shrinks.
    The same once more is no new event.

    Raises:
        Refused: it would commit more than the budget, the run is over, or a number or the deadline makes no sense.
    """
    if not (math.isfinite(budget) and budget > 0):
        raise Refused(f"cloud.budget_usd must be a number above 0, not {budget:g}")
    if not (math.isfinite(dollars) and dollars >= 0):
        raise Refused(f"what is reserved must be a number from 0 on, not {dollars:g}")
    if deadline <= now:
        raise Refused(f"the deadline {deadline:%Y-%m-%d %H:%M:%S %Z} has passed")

    def decide(ledger: Ledger) -> list[Event]:
        old = ledger.run(run_id)
        if old is not None and old.settled is not None:
            raise Refused(f"the run {run_id} is over and settled; begin another")
        if old is not None and dollars <= old.reserved and deadline == old.deadline:
            return []
        wanted = dollars if old is None else max(dollars, old.reserved)
        others = [account.committed for account in ledger.runs.values() if account.id != run_id]
        if math.fsum([*others, wanted]) > budget:
            raise Refused(
                f"at worst this costs ${wanted:.2f}, and of the budget of ${budget:.2f} (cloud.budget_usd) "
                f"${math.fsum(others):.2f} are spent or reserved"
            )
        return [Event(0, now, "reserved", run_id, dollars=wanted, deadline=deadline)]

    added = _append(store, decide)
    if added is not None:
        return added
    account = Ledger(store.read()).run(run_id)
    if account is None:
        raise Fault(f"the ledger has lost the reservation of {run_id}")
    return [event for event in account.events if event.kind == "reserved"][-1]


def observe(store: EventStore, run_id: str, inventory: Inventory, region: str = "") -> None:
    """Write down what a cloud tells of a run's machines: which were launched, which have ended, which cost money.

    Args:
        region: of the run; where the cloud could not be asked there (anywhere, if it is not given), what it tells of is
            written down, but what it does not tell of proves nothing.
    """
    nodes = [node for node in inventory.nodes if node.run == run_id]
    blind = region in inventory.unreachable if region else bool(inventory.unreachable)

    def decide(ledger: Ledger) -> list[Event]:
        account = ledger.run(run_id)
        return [] if account is None else _missing(account, nodes, inventory, blind=blind)

    _append(store, decide)


def _missing(account: Account, nodes: Sequence[Node], inventory: Inventory, *, blind: bool) -> list[Event]:
    """What an inventory adds to what is known of a run; machines first, then that they are all."""
    known = {life.node: life for life in account.lives}
    found: list[Event] = []
    for node in nodes:
        life = known.get(node.id)
        if life is None:
            price = node.price or 0.0
            found.append(Event(0, inventory.at, "launched", account.id, node=node.id, price=price, since=node.launched))
            life = Life(node.id, node.launched, price, node.launched, None)
        at, exact = max(node.ended or inventory.at, life.since), node.ended is not None
        if not node.costs and not _told(account, life, at, exact=exact):
            since = None if exact else min(life.certain, at)
            found.append(Event(0, at, "ended", account.id, node=node.id, since=since))
    alive = tuple(sorted(node.id for node in nodes if node.costs))
    if not (blind or (account.settled is not None and not alive) or _seen_already(account, inventory, alive)):
        found.append(Event(0, inventory.at, "seen", account.id, since=inventory.at - inventory.memory, nodes=alive))
    return found


def _seen_already(account: Account, inventory: Inventory, alive: tuple[str, ...]) -> bool:
    """Whether somebody saw the same a moment ago: events are objects in a bucket, and each is read by every command."""
    seen = [event for event in observations(account.events) if event.at <= inventory.at]
    if not seen:
        return False
    age = inventory.memory * FRESH if alive else min(inventory.memory * FRESH, FRESH_END)
    return seen[-1].nodes == alive and inventory.at - seen[-1].at <= age


def _told(account: Account, life: Life, at: datetime, *, exact: bool) -> bool:
    """Whether the end of a machine is written down as well as the cloud tells it now: at a moment, or by then."""
    ends = [event for event in account.events if event.kind == "ended" and event.node == life.node]
    if exact:
        return any(event.since is None and event.at == at for event in ends)
    return any(event.at >= min(life.certain, at) for event in ends)


def cost_so_far(account: Account, run: Run, rates: Rates, now: datetime, *, margin: timedelta | None = None) -> float:
    """Return what a run has cost by `now`, never less than it really has, nor more than is reserved for it.

    Only where machines are known to have cost more than was reserved does it say so.
    """
    least, most = cost(account.events, run, rates, now, margin=margin)
    return max(least, min(most, account.reserved))


def settle(store: EventStore, run: Run, rates: Rates, now: datetime, *, margin: timedelta | None = None) -> Event:
    """Close a run of which nothing is left; what it has not spent is free again. Settled once more, nothing changes.

    Args:
        margin: of the reservation; with it, nothing is assumed to have run after the deadline and the margin.

    Raises:
        Refused: nothing was reserved for the run.
        Fault: a machine still costs money.
    """

    def decide(ledger: Ledger) -> list[Event]:
        account = ledger.run(run.id)
        if account is None:
            raise Refused(f"nothing was ever reserved for the run {run.id}")
        if account.settled is not None:
            return []
        alive = [life.node for life in account.lives if life.until is None]
        if alive:
            raise Fault(f"{', '.join(alive)} of the run {run.id} still cost money; it cannot be settled")
        dollars = cost_so_far(account, run, rates, now, margin=margin)
        return [Event(0, now, "settled", run.id, dollars=dollars)]

    added = _append(store, decide)
    if added is not None:
        return added
    return next(event for event in store.read() if event.kind == "settled" and event.run == run.id)


def _append(store: EventStore, decide: Callable[[Ledger], list[Event]]) -> Event | None:
    """Append what is decided on what the store holds, the rest anew for as long as somebody else is faster.

    Returns:
        The last event that was appended, if any.
    """
    added: Event | None = None
    for _ in range(MOST_ATTEMPTS):
        ledger = Ledger(store.read())
        try:
            for number, event in enumerate(decide(ledger), start=ledger.size + 1):
                numbered = replace(event, number=number)
                store.append(numbered)
                added = numbered
        except Taken:
            continue
        return added
    raise Fault("the ledger could not be written to, for somebody else did all the time; try again")
