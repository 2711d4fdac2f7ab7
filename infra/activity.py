"""Whether a cluster works or idles, as its own head saw it last; the cloud does not know."""

import json
import subprocess

from infra import record, words
from infra.cluster import Node
from infra.connect import ssh
from infra.node import rules
from infra.record import Record

VIEW = "/var/lib/fifty/view.json"
ASK_SECONDS = 2.0


def ask(kept: Record, head: Node) -> str:
    """Return `busy`, `idle for 7 min` or the like; empty if the head cannot be asked, or does not know."""
    try:
        config = json.loads(record.file(kept.run.cluster, ".yaml").read_text())
        command = [*ssh(kept, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", f"ConnectTimeout={ASK_SECONDS:.0f}")]
        command += [f"{config['auth']['ssh_user']}@{head.address}", "cat", VIEW]
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS + 0.5, check=True)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError):
        return ""
    return told(done.stdout)


def told(text: str) -> str:
    """Read what a head's watchdog remembers."""
    view = rules.from_text(text)
    if view is None:
        return ""
    if view.ready_at is None:
        return "setting up"
    if view.busy:
        return "busy"
    if view.waiting:
        return "waiting for workers"
    return f"idle for {words.span(view.now - view.idle_since)}" if view.idle_since else "idle"
