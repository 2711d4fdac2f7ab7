"""`fifty down`: machines first, then what hung on them, then the books, then this machine's own files.

It goes by the tags in the cloud; the files that `fifty up` left only tell it where to look. Interrupted anywhere, it is
run again.
"""

from dataclasses import replace

from infra import record
from infra.clear import LOOKS, LOOKS_AFTER_LAUNCH, clear
from infra.cluster import Inventory
from infra.context import Context
from infra.faults import CloudFault, Fault
from infra.launcher import end_leftover
from infra.ledger import Ledger
from infra.overdue import things
from infra.record import Record
from infra.runs import Place, place_of
from infra.settling import settle_runs


def down(context: Context) -> None:
    """End the cluster of the settings and remove all that belonged to it.

    Raises:
        Fault: something is left, and what; the same command goes on.
    """
    context.provider.whoami()
    with record.lock(context.settings.cluster):
        try:
            take_down(context)
        except CloudFault as fault:
            raise type(fault)(f"{fault}; machines may still run: `fifty down` again") from None


def take_down(context: Context) -> None:
    """`down` for whoever holds the cluster's lock."""
    cluster = context.settings.cluster
    if end_leftover(cluster):
        context.say("ended the `ray up` that a killed `fifty up` had left")
    kept = _kept(context)
    perhaps_launched = kept is not None and kept.status in ("launching", "ending")
    if kept is not None:
        record.save(replace(kept, status="ending"))
    looks = LOOKS_AFTER_LAUNCH if perhaps_launched else LOOKS
    told = clear(context, lambda thing: thing.cluster == cluster, looks=looks)
    settle_runs(context, _runs(context, told, kept), told, kept)
    record.delete(cluster)
    context.say(f"nothing of cluster {cluster} is left in {context.region}")


def _kept(context: Context) -> Record | None:
    try:
        return record.load(context.settings.cluster)
    except Fault as fault:
        context.warn(f"{fault}; going by the tags in the cloud")
        return None


def _runs(context: Context, told: list[Inventory], kept: Record | None) -> set[str]:
    """Whatever may be open of the cluster here: by the cloud's tags, this machine's record, and the ledger."""
    cluster = context.settings.cluster
    runs = {thing.run for thing in things(*told) if thing.cluster == cluster and thing.run}
    if kept is not None:
        runs.add(kept.run.id)
    here = Place(cluster, context.provider.name, context.region)
    for account in Ledger(context.store.read()).open_runs():
        place = place_of(account.id)
        if place == here:
            runs.add(account.id)
        elif place is not None and place.cluster == cluster and account.id not in runs:
            context.warn(f"the run {account.id} of a cluster of this name is open in {place.region} ({place.cloud})")
    return runs
