"""`fifty plan`: asks the cloud for its prices and the ledger for what is left, or takes the table where it cannot."""

from infra import overdue, plan, plan_page, prices, record, settings
from infra.context import Context, utc_now
from infra.faults import Fault, Refused
from infra.launcher import Say
from infra.ledger import Ledger, LocalStore
from infra.plan import Plan
from infra.providers import cloud as row_of
from infra.settings import CloudConfig
from infra.where import context_for

BOTH = ("aws", "gcp")


def show(cloud: str, *, table: bool, simulate: bool, say: Say, warn: Say) -> None:
    """Print what would be launched and the most that it can cost.

    Args:
        cloud: empty: each of them; the exit code then tells only of a fault of all.
        table: ask no cloud.
        simulate: print, too, what a search is expected to cost and to take on 1 to 1,000 nodes.

    Raises:
        Refused: by the settings, the budget, or for want of a machine that fits.
    """
    chosen = settings.load()
    refused: list[Refused] = []
    names = [cloud] if cloud else BOTH
    for number, name in enumerate(names):
        if number:
            say("")
        try:
            planned = _plan(name, chosen, table=table, say=say, warn=warn)
        except Refused as fault:
            refused.append(Refused(f"{name}: {fault}" if len(names) > 1 else str(fault)))
            continue
        for line in plan_page.lines(planned):
            say(line)
        if simulate:
            _simulate(planned, say)
    if len(refused) == len(names):
        raise Refused("\n".join(map(str, refused)))
    for one in refused:
        warn(str(one))


def _plan(name: str, chosen: CloudConfig, *, table: bool, say: Say, warn: Say) -> Plan:
    now = utc_now().replace(microsecond=0)
    row_of(name)
    if not table:
        context = context_for(name, say, warn)
        try:
            context.provider.whoami()
        except Fault as fault:
            say(f"{name} cannot be asked, so that nothing is known of what runs there: {fault}")
        else:
            return plan.make(name, context.settings, context.provider.offers(), _ledger(context), now)
    elif name not in BOTH:
        raise Refused(f"the price table has no cloud {name!r}, but {' and '.join(BOTH)}")
    offered = prices.offers(name, row_of(name).region(chosen))
    events = LocalStore(record.ledger_file()).read() if chosen.ledger == "local" else []
    if chosen.ledger == "bucket":
        say("what was spent before stands in the bucket, and counts here as nothing")
    return plan.make(name, chosen, offered, Ledger(events), now)


def _ledger(context: Context) -> Ledger:
    """What was spent before; and on the way, what is past its deadline."""
    try:
        overdue.report(context)
        return Ledger(context.store.read())
    except Fault as fault:
        context.warn(f"what was spent before, and what is past its deadline, cannot be read: {fault}")
        return Ledger([])


def _simulate(planned: Plan, say: Say) -> None:
    from infra.simulator import plan as simulate_plan

    record.folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    for line in simulate_plan.lines(planned, record.file("plan", ".png")):
        say(line)
