"""`fifty plan --simulate`: the table and the picture of what a search is expected to cost and to take."""

import math
from collections.abc import Sequence
from pathlib import Path

from infra.budget import hours_of
from infra.plan import Plan
from infra.simulator.search import Circumstances, Row, Work, simulate_table
from infra.words import count, dollars, span, table

HARDLY = 1.05
HEADER = ("workers", "machines", "hours", "19 of 20", "dollars", "19 of 20 ", "taken away", "done twice", "reserved")


def lines(plan: Plan, picture: Path, work: Work | None = None) -> list[str]:
    """Simulate a search on 1 to 1,000 of the workers that a plan has chosen; draw it, and return the table.

    Args:
        picture: a PNG file; the cloud's name is added to its own.
        work: the search; a thousand trials of three minutes, unless another is given.
    """
    work, picture = work or Work(), picture.with_stem(f"{picture.stem}-{plan.cloud}")
    circumstances = Circumstances(setup=plan.setup, margin=plan.margin)
    rows = simulate_table(plan.shape, plan.rates, work, circumstances)
    draw(rows, picture, title=_search(plan, work), budget=plan.left, hours=hours_of(plan.deadline - plan.start))
    return ["", *told(rows, work, circumstances, plan), f"Drawn in {picture}."]


def told(rows: Sequence[Row], work: Work, circumstances: Circumstances, plan: Plan) -> list[str]:
    """The table, what it takes for granted, and which row is the best that the budget allows."""
    found = [
        f"Expected of {_search(plan, work)}, with a {plan.shape.head.machine.name} as head:",
        *table(HEADER, [_cells(row) for row in rows], right=[name for name in HEADER if name != "machines"]),
        f"Taken for granted: {span(circumstances.setup)} to set a machine up; of spot machines "
        f"{circumstances.no_spot:.0%} are not to be had and are on-demand, and {circumstances.interruptions:.0%} are "
        f"taken away in an hour; a trial resumes exactly from its checkpoints, every {span(circumstances.checkpoint)}.",
    ]
    fitting = [row for row in rows if row.reserved <= plan.left]
    if not fitting:
        return [*found, f"Of the budget {dollars(plan.left)} are left: too little to reserve any of these."]
    best = _best(fitting)
    return [
        *found,
        f"Of what the {dollars(plan.left)} left can reserve, the cheapest of the fastest: "
        f"{count(best.nodes, 'worker')}, {_kind(best)}, in {best.hours:.2f} hours for {dollars(best.dollars)} "
        f"(cloud.workers: {best.nodes}, cloud.spot: {str(best.spot).lower()}, "
        f"cloud.hours: {math.ceil(best.hours_late * 100) / 100:g}).",
    ]


def _best(rows: Sequence[Row]) -> Row:
    """The cheapest of those that take hardly longer than the fastest."""
    fastest = min(row.hours for row in rows)
    return min((row for row in rows if row.hours <= HARDLY * fastest), key=lambda row: row.dollars)


def _search(plan: Plan, work: Work) -> str:
    minutes = f"{work.hours * 60:g} minutes each"
    return f"a search of {count(work.trials, 'trial')} of {minutes} on {plan.shape.worker.machine.name}"


def _kind(row: Row) -> str:
    return "spot" if row.spot else "on-demand"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        str(row.nodes),
        _kind(row),
        f"{row.hours:.2f}",
        f"{row.hours_late:.2f}",
        f"{row.dollars:.2f}",
        f"{row.dollars_most:.2f}",
        f"{row.interruptions:.1f}",
        f"{row.repeated:.2f} h",
        f"{row.reserved:.2f}",
    )


def draw(
    rows: Sequence[Row], path: Path, *, title: str = "", budget: float | None = None, hours: float | None = None
) -> None:
    """Draw expected cost and duration over the number of workers, with and without spot, as a PNG.

    Args:
        title: of the whole.
        budget: dollars that are left, drawn as a line.
        hours: until the deadline, drawn as a line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(10, 4.2), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    panels = (
        (left, "dollars", "dollars_most", budget, "budget left"),
        (right, "hours", "hours_late", hours, "deadline"),
    )
    for axes, mean, most, limit, name in panels:
        for spot, color in ((False, "tab:blue"), (True, "tab:orange")):
            chosen = [row for row in rows if row.spot == spot]
            if not chosen:
                continue
            number, expected = [row.nodes for row in chosen], [getattr(row, mean) for row in chosen]
            label = "spot, on-demand where there is none" if spot else "on-demand"
            axes.plot(number, expected, "o-", color=color, markersize=4, label=label)
            axes.fill_between(number, expected, [getattr(row, most) for row in chosen], color=color, alpha=0.2, lw=0)
        if axes is left:
            axes.plot(*_reserved(rows), ":", color="tab:gray", label="what `fifty up` would reserve")
        if limit is not None:
            axes.axhline(limit, color="tab:red", lw=1, ls="--", label=name)
        axes.set(xscale="log", yscale="log", xlabel="workers", ylabel=mean)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if axis is axes.yaxis else (1.0,)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, frameon=False)
    left.set_title("what it costs", fontsize=11)
    right.set_title("how long it takes", fontsize=11)
    figure.suptitle(title, fontsize=12)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _reserved(rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """The greater reservation for each number of workers: without spot it is for a little less long."""
    numbers = sorted({row.nodes for row in rows})
    return numbers, [max(row.reserved for row in rows if row.nodes == number) for number in numbers]
