"""What is past its deadline and still there: told first by every command, whatever it was called for."""

from collections import Counter
from datetime import datetime

from infra import words
from infra.cluster import Inventory, Leftover, Node
from infra.context import Context


def past(thing: Node | Leftover, now: datetime) -> bool:
    """Whether it is there after the moment when it should have been gone."""
    costs = thing.costs if isinstance(thing, Node) else True
    return costs and thing.deadline is not None and thing.deadline <= now


def things(*inventories: Inventory) -> list[Node | Leftover]:
    """Everything that was told of."""
    found: list[Node | Leftover] = []
    for inventory in inventories:
        found += [*inventory.nodes, *inventory.leftovers]
    return found


def lines(inventory: Inventory) -> list[str]:
    """Say, cluster by cluster, what is past its deadline."""
    late = [thing for thing in things(inventory) if past(thing, inventory.at)]
    told = []
    for cluster, region in sorted({(thing.cluster, thing.region) for thing in late}):
        there = [thing for thing in late if (thing.cluster, thing.region) == (cluster, region)]
        kinds = Counter("machine" if isinstance(thing, Node) else thing.kind for thing in there)
        what = ", ".join(words.count(number, kind) for kind, number in kinds.items())
        first = min(thing.deadline for thing in there if thing.deadline)
        told.append(
            f"past its deadline for {words.span(inventory.at - first)}: {what} of cluster {cluster or '?'} "
            f"in {region}; `fifty reap` removes it"
        )
    return told


def report(context: Context, *, everywhere: bool = False) -> Inventory:
    """Ask the cloud what there is, warn of what is past its deadline, and return all."""
    inventory = context.provider.inventory(everywhere=everywhere)
    for line in lines(inventory):
        context.warn(line)
    return inventory
