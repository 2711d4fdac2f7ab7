"""Ends machines and removes what hung on them: machines first and the head with them, for it would launch more.

Everything is read from the cloud anew in every round, so that it may be interrupted anywhere and begun again.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from infra import words
from infra.cluster import Inventory, Leftover, Node
from infra.context import Context
from infra.faults import CloudFault, Fault, NotThere, Throttled

Mine = Callable[[Node | Leftover], bool]
T = TypeVar("T")

# What costs money first; a group cannot go before the machines in it, nor a profile.
ORDER = ("disk", "address", "schedule", "parameter", "group", "key", "profile", "account")
PAUSE_SECONDS = 3.0
TRIES = 6
# A cloud may not tell at once of a machine that was just launched: it is asked again before it is believed.
LOOKS, LOOKS_AFTER_LAUNCH = 2, 5


def again(context: Context, call: Callable[[], T]) -> T:
    """Call a cloud, and call again after a growing pause when it fails or is too busy.

    Raises:
        CloudFault: it goes on failing.
    """
    for number in range(1, TRIES + 1):
        try:
            return call()
        except NotThere:
            raise
        except CloudFault as fault:
            if number == TRIES or not (isinstance(fault, Throttled) or number < TRIES / 2):
                raise
            context.sleep(2.0 ** (number - 1))
    raise AssertionError


def clear(context: Context, mine: Mine, *, everywhere: bool = False, looks: int = LOOKS) -> list[Inventory]:
    """End all machines that are `mine`, wait until the cloud confirms it, and remove what is left.

    Args:
        everywhere: in every region.
        looks: how often in a row no machine must be seen before it is believed that there is none.

    Returns:
        What the cloud told on the way, first to last: the ledger learns from it.

    Raises:
        Fault: something cannot be ended or removed, and what.
    """
    told: list[Inventory] = []
    while not told or _alive(told[-1], mine):
        told += _end_machines(context, mine, everywhere, looks)
        told.append(_remove_rest(context, mine, everywhere))
    return told


def _alive(inventory: Inventory, mine: Mine) -> list[Node]:
    return [node for node in inventory.nodes if node.costs and mine(node)]


def _end_machines(context: Context, mine: Mine, everywhere: bool, looks: int) -> list[Inventory]:
    give_up = context.clock() + context.patience
    told: list[Inventory] = []
    asked: set[str] = set()
    unseen = 0
    while True:
        told.append(again(context, partial(context.provider.inventory, everywhere=everywhere)))
        there = _alive(told[-1], mine)
        if there:
            # One that was seen has been launched long enough ago for the next look to be believed.
            unseen, looks = 0, min(looks, LOOKS)
            again(context, partial(context.provider.terminate, there))
            if new := {node.id for node in there} - asked:
                context.say(f"ending {words.count(len(new), 'machine')}: {', '.join(sorted(new))}")
                asked |= new
        else:
            unseen += 1
            if unseen >= looks:
                if asked:
                    context.say(f"the cloud confirms that {words.count(len(asked), 'machine')} ended")
                return told
        if context.clock() >= give_up:
            raise Fault(
                f"after {words.span(context.patience)} the cloud still does not say that "
                f"{', '.join(f'{node.id} ({node.state})' for node in there)} ended; run the same command again"
            )
        context.sleep(PAUSE_SECONDS)


def _remove_rest(context: Context, mine: Mine, everywhere: bool) -> Inventory:
    give_up = context.clock() + context.patience
    removed: set[str] = set()
    while True:
        inventory = again(context, partial(context.provider.inventory, everywhere=everywhere))
        rest = sorted(filter(mine, inventory.leftovers), key=lambda thing: ORDER.index(thing.kind))
        # A machine that is told of only now has to be ended before anything of it can go.
        if not rest or _alive(inventory, mine):
            return inventory
        why = ""
        for thing in rest:
            try:
                context.provider.remove(thing)
            except CloudFault as fault:
                why = f" ({fault})"
                continue
            if thing.id not in removed:
                context.say(f"removed {thing.kind} {thing.id}")
                removed.add(thing.id)
        if context.clock() >= give_up:
            what = ", ".join(f"{thing.kind} {thing.id}" for thing in rest)
            raise Fault(f"cannot be removed: {what}{why}; run the same command again in a while")
        if why or all(thing.id in removed for thing in rest):
            context.sleep(PAUSE_SECONDS)
