"""Closes the books of runs of which nothing is left: with this machine's record of a run, or with the ledger alone."""

from collections.abc import Iterable

from infra import words
from infra.budget import hours_of
from infra.cluster import Inventory, Machine, Offer, Rates, Run, Shape
from infra.context import Context
from infra.ledger import Account, Ledger, observe, settle
from infra.record import Record
from infra.runs import place_of


def settle_runs(context: Context, runs: Iterable[str], told: Iterable[Inventory], kept: Record | None) -> None:
    """Write down what the cloud told of runs, and what each has cost in the end; twice is no harm.

    Args:
        runs: of which nothing is left; those that were never reserved, as after a `ray up` by hand, are passed over.
        told: by the cloud, first to last.
        kept: this machine's record, if it is of one of them.
    """
    told = list(told)
    for run_id in sorted(set(runs)):
        account = Ledger(context.store.read()).run(run_id)
        if account is None:
            continue
        place, was_open = place_of(run_id), account.settled is None
        for inventory in told:
            observe(context.store, run_id, inventory, place.region if place else context.region)
        if not was_open:
            continue
        known = kept if kept is not None and kept.run.id == run_id else None
        head = any(node.run == run_id and node.role == "head" for inventory in told for node in inventory.nodes)
        if known is None and not head and not _surely_over(account, context):
            continue
        run, rates = (known.run, known.rates) if known else rebuilt(account, context)
        event = settle(context.store, run, rates, context.clock(), margin=context.margin)
        context.say(f"settled: the run {run_id} has cost {words.dollars(event.dollars)} at most")


def _surely_over(account: Account, context: Context) -> bool:
    """Whether a run can be settled whose record is not here, and that no head was ever seen of.

    Elsewhere its `fifty up` may be about to ask for the head, which would then run unpaid for.
    """
    if account.deadline is None:
        return True
    over = account.deadline + context.margin
    if context.clock() >= over:
        return True
    context.say(
        f"the record of the run {account.id} is not here, so that its launch may be under way elsewhere: what it has "
        f"reserved stays reserved until {words.moment(over)}; then `fifty down` or `fifty reap` settles it"
    )
    return False


def rebuilt(account: Account, context: Context) -> tuple[Run, Rates]:
    """Make up a run that can be settled when its record is lost: one that costs no less by the hour than the real one.

    All that is known is what was reserved for how long. That makes one dear worker, of whose price are all hours
    in which nobody looked; machines that bore a price cost what they bore, with the largest disk that settings have.
    """
    rates = context.provider.offers()[1]
    deadline = account.deadline or account.start
    hours = max(hours_of(deadline + context.margin - account.start), 1 / 60)
    nothing = Offer(Machine("unknown", 0, 0.0), context.region, 0.0)
    dear = Offer(Machine("unknown", 0, 0.0), context.region, account.reserved / hours)
    disk = context.settings.disk_gb
    run = Run(
        id=account.id,
        cluster=context.settings.cluster,
        project=context.settings.project,
        cloud=context.provider.name,
        region=context.region,
        shape=Shape(nothing, dear, workers=1, spot=True, head_disk_gb=disk, worker_disk_gb=disk),
        start=account.start,
        deadline=deadline,
        owner="",
    )
    return run, rates
