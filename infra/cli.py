"""The `fifty` command: cloud machines for the search, under a hard dollar cap, and none left on.

Exit codes: 0; 1 something failed midway (`fifty down` clears); 2 refused, nothing was begun; 128 + n ended by signal n.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.context import Context

AFTER = {
    "up": "`fifty up` goes on from there, `fifty down` removes what is there",
    "down": "run `fifty down` again: it is safe twice, and machines may still run",
    "reap": "run `fifty reap` again: it is safe twice, and machines may still run",
    "extend": "run `fifty extend` again: it finishes what was begun",
}

HELP = """Cloud machines for the search, under a hard dollar cap, and none left on.

What may be spent, on what and for how long stands in the section `cloud` of params.yaml. The usual order:

\b
  fifty plan aws    what would be launched, and the most it can cost
  fifty up aws      reserve that much of the budget, then launch; ends with how to connect
  fifty status      what runs, what it costs, and when it is off
  fifty down        end all of it, and see that nothing is left

Every machine is off at its deadline, whatever happens to this one. Killed at any moment, `fifty up` goes on when it is
called again, and `fifty down` removes what is there.

Exit codes: 0 done; 1 failed midway, `fifty down` clears; 2 refused, nothing was begun; 128 + n ended by signal n."""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

Cloud = Annotated[
    str, typer.Argument(help="aws or gcp; left out: where the cluster was launched, or else aws", show_default=False)
]
AllRegions = Annotated[bool, typer.Option("--all-regions", help="look in every region of the account")]


@app.command(short_help="Machines, prices, and the most that it can cost.")
def plan(
    cloud: Annotated[str, typer.Argument(help="aws or gcp; left out: both", show_default=False)] = "",
    table: Annotated[bool, typer.Option("--table", help="use the price table in the repository; ask no cloud")] = False,
    simulate: Annotated[bool, typer.Option("--simulate", help="cost and time of a search on 1 to 1,000 nodes")] = False,
) -> None:
    """Show machines that fit, their prices, and the most that `fifty up` could cost; launches nothing.

    With credentials prices are the cloud's own and the budget is the real one; without, they come from the dated table
    in the repository. The output says which.
    """
    from infra import planning

    planning.show(cloud, table=table, simulate=simulate, say=say, warn=warn)


@app.command(short_help="Reserve the worst case, then launch.")
def up(cloud: Cloud = "") -> None:
    """Reserve the worst case in the ledger, then launch the cluster; or go on with a launch that was interrupted.

    Refuses when what was spent and reserved before and this worst case together would pass `cloud.budget_usd`. Ends by
    printing how to connect, how to see the dashboards, and how to run the pipeline on the cluster.
    """
    from infra import connect
    from infra.up import up

    context = _context(cloud, changes=True)
    _report_overdue(context)
    for line in connect.lines(context, up(context)):
        say(line)


@app.command(short_help="What runs, what it costs, what should not be there.")
def status(cloud: Cloud = "", all_regions: AllRegions = False) -> None:
    """Show every machine with age, price, dollars so far and time to its deadline; the budget; and what should not be.

    What runs is asked of the cloud itself, so that it is right from whichever machine you ask.
    """
    from infra.overdue import report
    from infra.status import status

    context = _context(cloud)
    found = status(context, report(context, everywhere=all_regions), all_regions=all_regions)
    for line in (*found.table, "", *found.money):
        say(line)
    for line in found.warnings:
        warn(line)


@app.command(short_help="End the cluster, and see that nothing is left.")
def down(cloud: Cloud = "") -> None:
    """End the cluster: machines first, until the cloud confirms; then disks, addresses, groups, keys; then the books.

    Safe twice, safe when half done, and needs no local file: everything is found by its tags.
    """
    from infra.down import down

    context = _context(cloud, changes=True)
    _report_overdue(context)
    down(context)


@app.command(short_help="End whatever is past its deadline, anywhere.")
def reap(
    cloud: Cloud = "",
    all_regions: AllRegions = False,
    everything: Annotated[bool, typer.Option("--all", help="whatever its deadline: all that is ours")] = False,
) -> None:
    """End and remove everything that bears the project's tag and is past its deadline, whoever launched it."""
    from infra.reap import reap

    context = _context(cloud)
    _report_overdue(context)
    reap(context, all_regions=all_regions, everything=everything)


@app.command(short_help="A later deadline, if the budget allows.")
def extend(
    hours: Annotated[float, typer.Argument(help="so many hours later than now set", show_default=False)],
    cloud: Cloud = "",
) -> None:
    """Move the cluster's deadline further, if the budget allows.

    The longer worst case is reserved first; then the deadline is moved where the nodes read it. Google fixes it at the
    launch, so that there it is refused.
    """
    from infra.extend import extend

    context = _context(cloud, changes=True)
    _report_overdue(context)
    extend(context, hours)


def say(line: str) -> None:
    """Tell the person how it goes; a good moment to end if they have asked for it."""
    from infra import interrupts

    print(line, flush=True)
    interrupts.check()


def warn(line: str) -> None:
    """Tell the person what should not be."""
    print(f"fifty: {line}", file=sys.stderr, flush=True)


def _context(cloud: str, *, changes: bool = False) -> "Context":
    from infra.where import context_for

    return context_for(cloud, say, warn, changes=changes)


def _report_overdue(context: "Context") -> None:
    from infra.faults import CloudFault
    from infra.overdue import report

    try:
        report(context)
    except CloudFault as fault:
        warn(f"what is past its deadline could not be asked: {fault}")


def main() -> int:
    """Run the command; whatever goes wrong is a sentence on stderr and an exit code."""
    from infra import interrupts
    from infra.faults import Fault

    interrupts.install()
    try:
        app()
    except interrupts.Interrupted as interrupted:
        return _interrupted(interrupted.number)
    except Exception as error:
        if number := interrupts.received():
            return _interrupted(number)
        if not isinstance(error, Fault):
            return _unexpected(error)
        for line in str(error).splitlines() or [type(error).__name__]:
            warn(line)
        return error.code
    return 0


def _interrupted(number: int) -> int:
    command = next((word for word in sys.argv[1:] if word in AFTER), "")
    warn(f"interrupted; {AFTER[command]}" if command else "interrupted")
    return 128 + number


def _unexpected(error: Exception) -> int:
    """A fault of our own: a sentence for the person, the traceback for whoever mends it."""
    import traceback

    from infra import record

    log = record.file("fifty", ".log")
    record.write(log, "".join(traceback.format_exception(error)).encode())
    warn(f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]}; the traceback is in {log}")
    warn("machines that run are off at their deadline; `fifty status` shows them, `fifty down` ends them")
    return 1


if __name__ == "__main__":
    sys.exit(main())
