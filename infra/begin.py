"""The first half of `fifty up`: everything that can be refused is, and the run is reserved before anything is made."""

import math
import secrets
from dataclasses import replace

from infra import clocks, keys, ledger, plan, record, words
from infra.account import Account
from infra.budget import worst_case
from infra.cluster import Run
from infra.context import Context
from infra.down import take_down
from infra.faults import Fault, Refused
from infra.ledger import Ledger, observe, settle
from infra.plan import Plan
from infra.record import Record
from infra.runs import Place, new_id, place_of


def begin(context: Context) -> Record:
    """Decide on a new run, see that it may be launched, and write its record.

    Raises:
        Refused: by the credentials, the names, the quota, a key file, a cluster that is there already; nothing is kept.
    """
    settings, provider = context.settings, context.provider
    identity = provider.whoami()
    clocks.check(identity.ahead)
    key = record.file(settings.cluster, ".pem")
    if key.exists():
        keys.check(key)
    _nothing_there(context)
    planned = _planned(context)
    run = Run(
        id=new_id(here(context), planned.start, secrets.token_hex(2)),
        cluster=settings.cluster,
        project=settings.project,
        cloud=provider.name,
        region=context.region,
        shape=planned.shape,
        start=planned.start,
        deadline=planned.deadline,
        owner=identity.owner,
        image=provider.image(planned.shape.worker.machine),
        ssh_from=address(context),
    )
    provider.check(run)
    kept = Record(run, planned.rates, "reserved", key)
    record.save(kept)
    return kept


def here(context: Context) -> Place:
    """Where the cluster of the settings is."""
    return Place(context.settings.cluster, context.provider.name, context.region)


def _planned(context: Context) -> Plan:
    """Choose machines at live prices, and see that the budget allows all the hours that were asked for."""
    now = context.clock().replace(microsecond=0)
    offered = context.provider.offers()
    planned = plan.make(context.provider.name, context.settings, offered, Ledger(context.store.read()), now)
    if planned.shortened:
        worst = worst_case(planned.shape, planned.rates, now, planned.wanted, context.margin).total
        hours = math.floor((planned.deadline - now).total_seconds() / 36) / 100
        raise Refused(
            f"{context.settings.hours:g} hours cost {words.dollars(worst)} at worst, and of the budget of "
            f"{words.dollars(planned.budget)} (cloud.budget_usd) {words.dollars(planned.left)} are left; "
            f"`cloud.hours: {hours:g}` would fit"
        )
    context.say(f"prices: {planned.source}")
    return planned


def address(context: Context) -> str:
    """The one address that SSH is opened to."""
    return context.address() if context.settings.ssh_from == "auto" else context.settings.ssh_from


def reopened(context: Context, kept: Record) -> Record:
    """The same run with SSH open to where this machine is now; the steps that follow see to it."""
    run = replace(kept.run, ssh_from=address(context))
    if run != kept.run:
        kept = replace(kept, run=run)
        record.save(kept)
    return kept


def reserve(context: Context, kept: Record) -> None:
    """Reserve the run's worst case, unless it is already.

    Raises:
        Refused: the budget does not allow it, or somebody else was faster to launch a cluster of this name; nothing is
            kept.
    """
    run, settings = kept.run, context.settings
    account = Ledger(context.store.read()).run(run.id)
    if account is not None and account.settled is None:
        return
    worst = worst_case(run.shape, kept.rates, run.start, run.deadline, context.margin).total
    try:
        ledger.reserve(context.store, settings.budget_usd, run.id, worst, run.deadline, context.clock())
    except Refused:
        record.delete(run.cluster)
        raise
    own = Ledger(context.store.read())
    rivals = [account for account in _open_here(context, own) if account.id != run.id]
    if any(_number(rival) < _number(own.runs[run.id]) for rival in rivals):
        inventory = context.provider.inventory()
        observe(context.store, run.id, inventory, run.region)
        settle(context.store, run, kept.rates, inventory.at, margin=context.margin)
        record.delete(run.cluster)
        raise Refused(_taken(context, rivals[0]))
    context.say(
        f"reserved {words.dollars(worst)} of {words.dollars(settings.budget_usd)} for the run {run.id}; "
        f"everything is off on {words.moment(run.deadline)}"
    )


def still_reserved(context: Context, run: Run) -> None:
    """See that nobody has taken the run down from elsewhere.

    Raises:
        Fault: somebody has.
    """
    account = Ledger(context.store.read()).run(run.id)
    if account is None or account.settled is not None:
        raise Fault(f"the run {run.id} was taken down from elsewhere while it was being launched")


def _nothing_there(context: Context) -> None:
    """See that no cluster of this name is there, and clear away what one that is over has left.

    Raises:
        Refused: there is one, of somebody else or of a lost record.
    """
    cluster, now = context.settings.cluster, context.clock()
    inventory = context.provider.inventory()
    nodes = [node for node in inventory.nodes if node.cluster == cluster and node.costs]
    alive = [node for node in nodes if node.deadline is None or node.deadline > now]
    if alive:
        owner = f", launched by {alive[0].owner}" if alive[0].owner else ""
        off = f", off {words.until(alive[0].deadline, now)}" if alive[0].deadline else ""
        raise Refused(
            f"a cluster {cluster} runs already in {context.region}{owner}{off}, and its record is not here; "
            "`fifty down` ends it, or choose another name as `cloud.cluster`"
        )
    running = _open_here(context, Ledger(context.store.read()))
    for account in running:
        if account.deadline is None or account.deadline > now:
            raise Refused(_taken(context, account))
    rest = [thing for thing in inventory.leftovers if thing.cluster == cluster]
    for thing in rest:
        if thing.deadline and thing.deadline > now:
            raise Refused(
                f"{thing.kind} {thing.id} of another launch of cluster {cluster} is there, whose record is not here; "
                "`fifty down` removes it, or choose another name as `cloud.cluster`"
            )
    if nodes or running or rest:
        context.say(f"an older cluster {cluster} is over; clearing what it left")
        take_down(context)


def _open_here(context: Context, books: Ledger) -> list[Account]:
    return [account for account in books.open_runs() if place_of(account.id) == here(context)]


def _number(account: Account) -> int:
    return account.events[0].number


def _taken(context: Context, rival: Account) -> str:
    off = f", off {words.until(rival.deadline, context.clock())}" if rival.deadline else ""
    return (
        f"a cluster {context.settings.cluster} is being launched or runs already, as the run {rival.id}{off}; "
        "`fifty down` ends it, or choose another name as `cloud.cluster`"
    )
