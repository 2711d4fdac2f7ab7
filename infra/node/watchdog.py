"""The watchdog: looks once at what this node and its cluster are doing, and ends what is of no use.

    python3 -m infra.node.watchdog

The rules are in rules.py; this gathers what they judge, and does what they say. Called every half minute by a timer.
"""

from __future__ import annotations  # for Python 3.9

import socket
import sys
from dataclasses import replace
from datetime import datetime

from infra.node import deadline, head, rules
from infra.node import facts as here
from infra.node import processes as table
from infra.node.facts import Facts
from infra.node.off import power_off
from infra.node.rules import Action, View

LAST = "view.json"
GCS_PORT = 6379


def main() -> int:
    """Look, decide, remember, act."""
    facts = here.load()
    now = here.clock()
    before = rules.from_text(here.read(LAST) or "")
    view = rules.carry(before, _look(facts, now, before))
    action = rules.decide(view)
    here.write(LAST, rules.to_text(view))
    _act(facts, view, action)
    return 0


def _look(facts: Facts, now: datetime, before: View | None) -> View:
    until, known = deadline.in_force(facts, now)
    view = View(
        now=now,
        role=facts.role,
        deadline=until,
        booted=here.booted(),
        ready_at=here.marked("ready"),
        deadline_known=known,
        idle_minutes=facts.idle_minutes,
        pace=facts.pace,
    )
    return head.look(facts, view) if facts.role == "head" else _worker(view, before)


def _worker(view: View, before: View | None) -> View:
    """A worker has a head while the head's GCS takes its call and, once set up, its own raylet lives to serve it."""
    address = (here.read("marks/head") or "").strip()
    reached = bool(address) and _answers(address)
    serves = view.ready_at is None or table.has_raylet(list(table.running()))
    if reached and serves:
        return replace(view, head_seen_at=view.now)
    # The head was there when the first command of its set-up wrote its address down.
    known = before is not None and before.head_seen_at is not None
    return view if known else replace(view, head_seen_at=here.marked("head"))


def _answers(address: str) -> bool:
    try:
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port or GCS_PORT)), timeout=5):
            return True
    except (OSError, ValueError):
        return False


def _act(facts: Facts, view: View, action: Action) -> None:
    if action.kind == rules.END_ALL:
        print(f"fifty: {action.why}; taking the workers down", flush=True)
        head.end_workers(facts)
    if action.kind in (rules.END_ALL, rules.END_SELF):
        power_off(facts, action.why)
    elif facts.role == "head":
        if action.kind == rules.STOP_REPLACING:
            head.stop_replacing(action.why)
        else:
            head.allow_replacing()


if __name__ == "__main__":
    sys.exit(main())
