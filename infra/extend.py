"""`fifty extend`: a later deadline, if the budget allows: first reserved, then moved in the state that nodes read.

Nothing of the launched config changes, for `ray up` would take a changed one as a reason to replace the head.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from infra import record, words
from infra.budget import worst_case
from infra.context import Context
from infra.faults import Fault, Refused
from infra.ledger import Ledger, reserve
from infra.record import Record

LONGEST = timedelta(days=7)


def extend(context: Context, hours: float) -> None:
    """Move the cluster's deadline so many hours further.

    Raises:
        Refused: there is no such cluster, it is too late, the budget or the cloud does not allow it.
    """
    context.provider.whoami()
    cluster = context.settings.cluster
    with record.lock(cluster):
        kept = record.load(cluster)
        if kept is None:
            raise Refused(
                f"there is no record of cluster {cluster} here ({record.file(cluster)}); "
                "a deadline is extended from where the cluster was launched"
            )
        if kept.status == "extending":
            _move(context, kept)
            context.say(
                f"finished the extension to {words.moment(kept.run.deadline)} that was interrupted; again, for more"
            )
            return
        _refuse(context, kept)
        later = replace(kept.run, deadline=_later(context, kept, hours))
        # Asked to leave it where it is, a cloud that cannot move a deadline says so before anything is reserved.
        context.provider.set_deadline(kept.run, kept.run.deadline)
        estimate = worst_case(later.shape, kept.rates, later.start, later.deadline, context.margin)
        reserve(context.store, context.settings.budget_usd, later.id, estimate.total, later.deadline, context.clock())
        # From here on the later deadline is what everybody must reckon with, whether it has been moved or not.
        kept = replace(kept, run=later, status="extending")
        record.save(kept)
        _move(context, kept)
        context.say(
            f"cluster {cluster} is off on {words.moment(later.deadline)}, "
            f"{words.until(later.deadline, context.clock())}; it costs at most {words.dollars(estimate.total)} in all"
        )


def _refuse(context: Context, kept: Record) -> None:
    """Refuse what is too late or too early to extend."""
    run, now = kept.run, context.clock()
    if kept.status != "up":
        what = "is being ended: `fifty down`" if kept.status == "ending" else "is not up yet: `fifty up`"
        raise Refused(f"cluster {run.cluster} {what}")
    if run.deadline <= now:
        raise Refused(f"the deadline of cluster {run.cluster} passed {words.until(run.deadline, now)}: `fifty down`")
    account = Ledger(context.store.read()).run(run.id)
    if account is None or account.settled is not None:
        raise Refused(f"the run {run.id} is over, as the ledger says: `fifty down`")


def _later(context: Context, kept: Record, hours: float) -> datetime:
    if not 0 < hours < float("inf"):
        raise Refused(f"a deadline is extended by more than 0 hours, not by {hours:g}")
    if hours > LONGEST.total_seconds() / 3600:
        raise Refused(f"a deadline is extended by {LONGEST.total_seconds() / 3600:g} hours at most, not by {hours:g}")
    return kept.run.deadline + timedelta(hours=hours)


def _move(context: Context, kept: Record) -> None:
    try:
        context.provider.set_deadline(kept.run, kept.run.deadline)
    except Fault as fault:
        raise Fault(f"the later deadline is reserved but not moved everywhere: {fault}; `fifty extend` again") from None
    record.save(replace(kept, status="up"))
