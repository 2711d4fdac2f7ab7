"""How a plan is told to a person. Pure."""

from infra.budget import LEFT_OUT
from infra.choice import Ranked
from infra.plan import Plan, minutes
from infra.words import count, dollars, moment, price, span, table

MOST_ROWS = 8


def lines(plan: Plan, most: int = MOST_ROWS) -> list[str]:
    """Return the lines that `fifty plan` prints: machines, deadline, the worst case item by item, and the budget."""
    return [
        f"Prices of {plan.cloud} in {plan.region}: {plan.source}.",
        "",
        *machines(plan, most),
        "",
        *deadline(plan),
        "",
        *worst(plan),
        "",
        *budget(plan),
        "",
        f"Left out: {'; '.join(LEFT_OUT)}.",
    ]


def machines(plan: Plan, most: int = MOST_ROWS) -> list[str]:
    """The machines that fit, the best first, and the head."""
    header = ("worker", "GPU", "GPU GB", "cores", "GB", "on-demand/h", "spot/h", f"$ per {plan.ranking[0].basis}")
    if len({one.basis for one in plan.ranking}) > 1:
        header = (*header[:-1], "$ per")
    rows = [_row(one, mixed=header[-1] == "$ per", gpus=one.offer.machine.gpus) for one in plan.ranking[:most]]
    found = table(header, rows, right=header[2:])
    more = len(plan.ranking) - len(rows)
    head = plan.shape.head
    what = f"{count(plan.shape.workers, 'worker')} at most, {plan.shape.worker.machine.name}"
    kind = "spot where it is to be had" if plan.shape.spot else "on-demand"
    return [
        *found,
        *([f"and {count(more, 'dearer one')}"] if more else []),
        f"Chosen: 1 head, {head.machine.name}, on-demand at {price(head.on_demand)}; {what}, {kind}.",
    ]


def _row(one: Ranked, *, mixed: bool, gpus: int) -> tuple[str, ...]:
    offer, machine = one.offer, one.offer.machine
    return (
        machine.name,
        f"{gpus} {machine.gpu}" if gpus else "-",
        f"{machine.gpu_memory_gb:g}" if gpus else "-",
        str(machine.cores),
        f"{machine.memory_gb:g}",
        f"{offer.on_demand:.3f}",
        "-" if offer.spot is None else f"{offer.spot:.3f}",
        f"{one.per:.4g} {one.basis}" if mixed else f"{one.per:.4g}",
    )


def deadline(plan: Plan) -> list[str]:
    """Until when, and what of the time goes into the set-up."""
    until = f"Deadline: {moment(plan.deadline)}, in {span(plan.deadline - plan.start)}"
    if plan.shortened:
        until += f", for the budget does not allow more: take `cloud.hours: {plan.hours:g}`"
    setup = f"about {minutes(plan.setup)} minutes pass until a new machine does its first work"
    return [f"{until}.", f"Of it {setup}: {dollars(plan.setup_dollars)} of the worst case."]


def worst(plan: Plan) -> list[str]:
    """The worst case, item by item."""
    items = [(item.name, dollars(item.dollars)) for item in plan.estimate.items]
    items += [("at worst, and so much is reserved", dollars(plan.estimate.total))]
    items += [("if all run until the deadline at today's prices", dollars(plan.today))]
    return table(("worst case", "dollars"), items, right=("dollars",))


def budget(plan: Plan) -> list[str]:
    """What was spent before, what is reserved, and what is left."""
    rows = [
        ("budget (cloud.budget_usd)", dollars(plan.budget)),
        ("spent before", dollars(plan.spent)),
        ("reserved by open runs", dollars(plan.reserved)),
        ("left before this", dollars(plan.left)),
        ("left at worst after this", dollars(max(0.0, plan.left - plan.estimate.total))),
    ]
    return table(("budget", "dollars"), rows, right=("dollars",))
