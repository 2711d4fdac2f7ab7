"""`fifty reap`: the same as `fifty down` for all that is past its deadline, whoever launched it, by the tags alone."""

from infra import record, words
from infra.clear import again, clear
from infra.cluster import Inventory, Leftover, Node
from infra.context import Context
from infra.faults import Fault, Refused
from infra.launcher import end_leftover
from infra.ledger import Ledger
from infra.overdue import past, things
from infra.runs import place_of
from infra.settling import settle_runs


def reap(context: Context, *, all_regions: bool = False, everything: bool = False) -> None:
    """End and remove what bears the project's tag and is past its deadline.

    Args:
        all_regions: look in every region that the account has.
        everything: whatever its deadline.

    Raises:
        Fault: something is left or could not be looked at, and what.
    """
    context.provider.whoami()
    before = again(context, lambda: context.provider.inventory(everywhere=all_regions))
    now = context.clock()
    alive = {node.run for node in before.nodes if node.costs and not past(node, now)}

    def mine(thing: Node | Leftover) -> bool:
        if everything:
            return True
        # After an interrupted `fifty extend` a group may bear an older deadline than the machines in it.
        return past(thing, now) and (isinstance(thing, Node) or not thing.run or thing.run not in alive)

    if everything:
        for cluster in record.clusters():
            end_leftover(cluster)
    late = [thing for thing in things(before) if mine(thing)]
    told = [before, *clear(context, mine, everywhere=all_regions)]
    _close(context, told, all_regions=all_regions, everything=everything)
    where = "any region" if all_regions else context.region
    if not any(thing.costs if isinstance(thing, Node) else True for thing in late):
        context.say(f"nothing {'of ours' if everything else 'past its deadline'} is left in {where}")
    if unreachable := told[-1].unreachable:
        reasons = "; ".join(f"{region} ({reason})" for region, reason in sorted(unreachable.items()))
        raise Fault(f"{words.count(len(unreachable), 'region')} could not be looked at: {reasons}")


def _over(context: Context, last: Inventory, *, all_regions: bool, everything: bool) -> set[str]:
    """The open runs that are past their deadline, were launched where we looked, and of which nothing is left."""
    there = {node.run for node in last.nodes if node.costs}
    over = set()
    for account in Ledger(context.store.read()).open_runs():
        place = place_of(account.id)
        if place is None or place.cloud != context.provider.name or place.region in last.unreachable:
            continue
        looked = all_regions or place.region == context.region
        ended = everything or (account.deadline is not None and account.deadline <= last.at)
        if looked and ended and account.id not in there:
            over.add(account.id)
    return over


def _close(context: Context, told: list[Inventory], *, all_regions: bool, everything: bool) -> None:
    """Settle what is over, and forget it."""
    over = _over(context, told[-1], all_regions=all_regions, everything=everything)
    for cluster in record.clusters():
        try:
            with record.lock(cluster):
                kept = record.load(cluster)
                if kept is not None and kept.run.id in over:
                    settle_runs(context, [kept.run.id], told, kept)
                    record.delete(cluster)
        except Refused:
            continue  # a command is at work on it
        except Fault as fault:
            context.warn(str(fault))
    settle_runs(context, over, told, None)
