"""`fifty status`: what there is, from the cloud's own API; what it costs; and what should not be there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from infra import record, words
from infra.cluster import Inventory, Node
from infra.context import Context
from infra.events import EventStore
from infra.faults import Fault
from infra.ledger import Ledger, observe
from infra.overdue import past
from infra.runs import place_of

HEADER = ("machine", "cluster", "role", "type", "spot", "state", "age", "price", "so far", "off", "doing")
RIGHT = ("age", "price", "so far")


@dataclass(frozen=True)
class Report:
    """What `fifty status` found.

    Attributes:
        table: its lines.
        money: spent and reserved against the budget.
        warnings: what is ours and should not be there, or not be so.
    """

    table: list[str]
    money: list[str]
    warnings: list[str]


def status(context: Context, inventory: Inventory, *, all_regions: bool = False) -> Report:
    """Say what the cloud tells of, and write it down in the ledger.

    Args:
        inventory: just asked for, in every region if `all_regions`.
    """
    _observe(context.store, inventory, context.provider.name, None if all_regions else context.region)
    ledger = Ledger(context.store.read())
    nodes = [node for node in inventory.nodes if node.costs]
    activity = _activity(context, nodes)
    nodes.sort(key=lambda node: (node.region, node.cluster, node.role != "head", node.launched, node.id))
    rows = [_row(node, inventory.at, activity.get(node.id, "?")) for node in nodes]
    lines = words.table(HEADER, rows, RIGHT) if rows else [f"no machine of project {context.settings.project} runs"]
    return Report(lines, _money(context, ledger), list(_warnings(inventory, ledger)))


def _observe(store: EventStore, inventory: Inventory, cloud: str, region: str | None) -> None:
    """Each look at the cloud makes the settlement of open runs more exact; None: every region was asked."""
    for account in Ledger(store.read()).open_runs():
        place = place_of(account.id)
        if place is not None and place.cloud == cloud and region in (None, place.region):
            observe(store, account.id, inventory, place.region)


def _row(node: Node, now: datetime, doing: str) -> Sequence[str]:
    age = (node.ended or now) - node.launched
    cost = None if node.price is None else node.price * age.total_seconds() / 3600
    return (
        node.id,
        node.cluster or "?",
        node.role or "?",
        node.machine,
        "spot" if node.spot else "",
        node.state,
        words.span(age),
        "?" if node.price is None else words.price(node.price),
        "?" if cost is None else words.dollars(cost),
        "never" if node.deadline is None else words.until(node.deadline, now),
        doing,
    )


def _money(context: Context, ledger: Ledger) -> list[str]:
    now, budget = context.clock(), context.settings.budget_usd
    settled = sum(account.committed for account in ledger.runs.values() if account.settled is not None)
    lines = []
    for account in ledger.open_runs():
        off = f"off {words.until(account.deadline, now)}" if account.deadline else "no deadline"
        spent, reserved = words.dollars(account.spent(now)), words.dollars(account.reserved)
        lines.append(f"run {account.id}: {spent} spent of {reserved} reserved, {off}")
    left = budget - ledger.committed()
    lines.append(
        f"budget {words.dollars(budget)}: {words.dollars(settled)} spent by ended runs, "
        f"{words.dollars(ledger.reserved())} reserved by running ones, {words.dollars(max(left, 0.0))} left"
    )
    if left < 0:
        lines[-1] += f"; it is overdrawn by {words.dollars(-left)}"
    return lines


def _warnings(inventory: Inventory, ledger: Ledger) -> Iterator[str]:
    nodes = [node for node in inventory.nodes if node.costs]
    for node in nodes:
        yield from (f"{node.id}: {what}" for what in _faults_of(node, ledger, inventory.at))
    heads = {(node.cluster, node.region) for node in nodes if node.role == "head"}
    for cluster, region in sorted({(node.cluster, node.region) for node in nodes} - heads):
        yield f"cluster {cluster or '?'} in {region} has no head; its workers power off by themselves in minutes"
    for cluster, region in sorted(heads):
        several = [n.id for n in nodes if n.role == "head" and (n.cluster, n.region) == (cluster, region)]
        if len(several) > 1:
            yield f"cluster {cluster} in {region} has several heads: {', '.join(several)}; `fifty down`"
    open_runs = {account.id for account in ledger.open_runs()} | {node.run for node in nodes}
    for thing in inventory.leftovers:
        if thing.kind == "disk":
            yield f"disk {thing.id} of cluster {thing.cluster or '?'} hangs on no machine and is billed; `fifty down`"
        elif thing.run not in open_runs and not past(thing, inventory.at):
            yield f"{thing.kind} {thing.id} of cluster {thing.cluster or '?'} is left over; `fifty down` removes it"
    for region, reason in sorted(inventory.unreachable.items()):
        yield f"{region} could not be asked: {reason}"


def _faults_of(node: Node, ledger: Ledger, now: datetime) -> Iterator[str]:
    account = ledger.run(node.run)
    if account is None:
        yield f"of a run that the ledger does not know ({node.run or 'no name'}); launched by hand, or not by `fifty`"
    elif account.settled is not None:
        yield f"of the run {node.run}, which was settled as ended; `fifty down`"
    if node.deadline is None:
        yield "has no deadline"
    elif past(node, now):
        yield f"should have been off for {words.span(now - node.deadline)}; `fifty reap`"
    if node.state == "stopped":
        yield "is stopped, and its disk is billed; `fifty down`"
    if node.price is None:
        yield "bears no price, so that nobody can say what it costs"


def _activity(context: Context, nodes: list[Node]) -> dict[str, str]:
    """What machines do, where their head says so."""
    try:
        kept = record.load(context.settings.cluster)
    except Fault:
        return {}
    heads = [node for node in nodes if kept and node.run == kept.run.id and node.role == "head" and node.address]
    if kept is None or not heads:
        return {}
    doing = context.activity(kept, heads[0])
    # The head knows of the cluster as a whole: where nothing runs at all, each worker is idle.
    workers = [node for node in nodes if node.run == kept.run.id and node.role == "worker"]
    return {heads[0].id: doing or "?", **{node.id: "idle" for node in workers if doing.startswith("idle")}}
