"""What `fifty up` prints when it is done: how to get at the machines, at the dashboards, and to work."""

import json
import os
import shlex
from pathlib import Path

from infra import record, words
from infra.cluster import Node
from infra.context import Context
from infra.record import Record

RAY_PORT, MLFLOW_PORT = 8265, 5000


def lines(context: Context, kept: Record) -> list[str]:
    """Return the lines, with the address that the cloud tells of the head."""
    run, now = kept.run, context.clock()
    head = _head(context, kept)
    address = head.address if head else "ADDRESS"
    config = json.loads(record.file(run.cluster, ".yaml").read_text())
    shell = " ".join(ssh(kept))
    who = f"{config['auth']['ssh_user']}@{address}"
    ports = " ".join(f"-L {port}:127.0.0.1:{port}" for port in (RAY_PORT, MLFLOW_PORT))
    search = "cd fifty && RAY_ADDRESS=auto .venv/bin/python -m pipelines.search EXPERIMENT"
    return [
        f"cluster {run.cluster} is up on {address}; everything is off {words.until(run.deadline, now)}, "
        f"on {words.moment(run.deadline)}",
        f"  a shell         {shell} {who}",
        f"  the dashboards  {shell} -N {ports} {who}",
        f"                  then Ray's is http://127.0.0.1:{RAY_PORT}, MLflow's http://127.0.0.1:{MLFLOW_PORT}",
        f"  a search        {shell} -t {who} {shlex.quote(search)}",
        f"  its results     rsync -az -e {shlex.quote(shell)} {who}:fifty/results/ results/",
        "  what it costs   fifty status",
        "  more time       fifty extend HOURS",
        "  the end         fifty down",
    ]


def ssh(kept: Record, *options: str) -> list[str]:
    """Return the command that opens a machine of the run, but for whom and where; its host's keys are kept apart."""
    known = record.file(kept.run.cluster, ".hosts")
    # A later cluster may have this one's address and keys of its own.
    apart = ("-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={_short(known)}")
    return ["ssh", "-i", _short(kept.key), *apart, *options]


def _head(context: Context, kept: Record) -> Node | None:
    heads = [n for n in context.provider.inventory().nodes if n.run == kept.run.id and n.role == "head" and n.costs]
    return heads[-1] if heads else None


def _short(path: Path) -> str:
    """A path as it is typed from here."""
    return shlex.quote(os.path.relpath(path))
