"""When a node must end: the rules of the dead-man's switch and of the watchdog, for head and worker.

Pure, and alone in this file: it is copied onto every node, where `/usr/bin/python3` (3.9 or later) runs it with nothing
installed, and the simulator runs it through thousands of pretended histories. Whoever calls gathers what is so in a
`View`, carries over what the last look remembered, and does what the `Action` says:

    view = carry(from_text(remembered), View(now=..., role="head", ...))
    action = decide(view)
    remembered = to_text(view)

The dead-man's switch has its own timer and needs only `in_force` and `is_over`.
"""

from __future__ import annotations  # for Python 3.9

import json
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

# Both timers fire this often. With a clock that is wrong by SKEW at most, a machine that needs BOOT from its launch to
# its first check and SHUTDOWN from `shutdown -h now` until it costs nothing, nothing lives past the deadline by more
# than GRACE: the head may launch a worker in its last moment, which goes down at its first check.
PERIOD = timedelta(seconds=30)
SKEW = timedelta(seconds=60)
BOOT = timedelta(seconds=60)
SHUTDOWN = timedelta(seconds=120)
GRACE = PERIOD + SKEW + BOOT + SHUTDOWN

HEADLESS = timedelta(minutes=5)  # so long a worker does without a head
MONITOR_RESTART = timedelta(minutes=2)  # `ray up` on a head that is there stops the monitor and starts it anew
SETUP = timedelta(minutes=30)  # a set-up that takes longer hangs
NEAR = timedelta(minutes=15)  # so near the deadline, or in the last quarter of a short life, a replacement does no work
FAILED_SETUPS = 3
TRUSTED = timedelta(minutes=15)  # so long a deadline once read holds while it cannot be read again

_MOMENTS = {"now", "deadline", "booted", "ready_at", "head_seen_at", "monitor_lost_at", "driver_lost_at", "idle_since"}

NOTHING, END_SELF, END_ALL, STOP_REPLACING = "nothing", "end_self", "end_workers_then_self", "stop_replacing"


@dataclass(frozen=True)
class View:
    """What a node sees of itself and of its cluster at one moment; all moments are aware.

    Attributes:
        now: by the node's own clock.
        role: `head` or `worker`.
        deadline: the one in force, see `in_force`.
        booted: when the node first came up.
        ready_at: when its set-up was done and Ray ran; None until then.
        monitor_alive: head: the autoscaler's monitor runs.
        driver_alive: head: a driver is connected, or a job is running.
        busy: head: a task or an actor runs anywhere in the cluster.
        waiting: head: work waits for machines that are asked for or being set up.
        workers: head: how many workers there are, in whichever state.
        failed_setups: head: how many set-ups of workers have failed in a row.
        deadline_known: the deadline was read from outside the node, or fixed by the platform.
        idle_minutes: what the cluster's settings say.
        pace: 1 on a real node; a test that has no minutes to wait says less, and is waited for less long.
        head_seen_at: worker: when the head last answered, with this node's own raylet running.
        monitor_lost_at, driver_lost_at, idle_since: since when not; `carry` fills them in.
    """

    now: datetime
    role: str
    deadline: datetime
    booted: datetime
    ready_at: datetime | None = None
    monitor_alive: bool = False
    driver_alive: bool = False
    busy: bool = False
    waiting: bool = False
    workers: int = 0
    failed_setups: int = 0
    deadline_known: bool = True
    idle_minutes: float = 10.0
    pace: float = 1.0
    head_seen_at: datetime | None = None
    monitor_lost_at: datetime | None = None
    driver_lost_at: datetime | None = None
    idle_since: datetime | None = None


@dataclass(frozen=True)
class Action:
    """What to do: `nothing`, `end_self`, `end_workers_then_self` or `stop_replacing`; and why, in a sentence."""

    kind: str
    why: str = ""


def in_force(own: datetime, told: datetime | None, told_at: datetime | None, now: datetime) -> tuple[datetime, bool]:
    """Choose between the deadline the node was born with and the one that the state outside last told.

    Args:
        own: from UserData.
        told: the last that was read; None if it never was.
        told_at: when it was read.
        now: by the node's clock.

    Returns:
        The deadline that holds, and whether it is known from outside, without which nothing may be launched. What was
        read a while ago still holds, so that one lost request ends no cluster whose deadline has been extended.
    """
    if told is None or told_at is None or not timedelta(0) <= now - told_at <= TRUSTED:
        return own, False
    return told, True


def is_over(now: datetime, deadline: datetime) -> bool:
    """Whether the node must power off, whatever it does."""
    return now >= deadline


def carry(before: View | None, view: View) -> View:
    """Add to a look what only the looks before it can tell: since when the monitor, a driver or work is missing.

    Args:
        before: what this function returned at the last look; None at the first.
        view: the look itself.
    """
    last = before or view
    return replace(
        view,
        booted=min(last.booted, view.booted),
        ready_at=view.ready_at or last.ready_at,
        head_seen_at=view.head_seen_at or last.head_seen_at,
        monitor_lost_at=_since(view.monitor_alive, last.monitor_lost_at, view.now),
        driver_lost_at=_since(view.driver_alive, last.driver_lost_at, view.now),
        idle_since=_since(_works(view), last.idle_since, view.now),
    )


def decide(view: View) -> Action:
    """Say what a node must do that sees this."""
    if is_over(view.now, view.deadline):
        return Action(END_SELF, "the deadline has been reached")
    return _head(view) if view.role == "head" else _worker(view)


def why_not_replace(view: View) -> str:
    """Say why the head must launch no worker now; empty if it may."""
    if not view.deadline_known:
        return "the cluster's deadline cannot be read"
    near = min(NEAR, (view.deadline - view.booted) / 4)
    if view.deadline - view.now <= near:
        return f"the deadline is less than {_minutes(near)} away"
    if view.failed_setups >= FAILED_SETUPS:
        return f"{view.failed_setups} set-ups of workers in a row have failed"
    return ""


def to_text(view: View) -> str:
    """Write a view down for the next look."""
    told = {field.name: getattr(view, field.name) for field in fields(view)}
    return json.dumps({k: v.isoformat() if isinstance(v, datetime) else v for k, v in told.items()})


def from_text(text: str) -> View | None:
    """Read what `to_text` wrote; None if it is damaged, which is as if the node had never looked before."""
    try:
        return View(**{k: _moment(v) if k in _MOMENTS and v else v for k, v in json.loads(text).items()})
    except (AttributeError, TypeError, ValueError):
        return None


def _moment(text: str) -> Any:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment


def _head(view: View) -> Action:
    patience = timedelta(minutes=view.idle_minutes)
    if view.ready_at is None:
        if view.now - view.booted >= SETUP * view.pace:
            return Action(END_ALL, f"the head was not set up within {_minutes(SETUP * view.pace)}")
    elif _lasts(view, view.monitor_lost_at, MONITOR_RESTART * view.pace):
        return Action(END_ALL, "the autoscaler's monitor is dead")
    elif _lasts(view, view.driver_lost_at, patience):
        return Action(END_ALL, f"no driver for {_minutes(patience)}")
    elif _lasts(view, view.idle_since, patience):
        return Action(END_ALL, f"idle for {_minutes(patience)}")
    why = why_not_replace(view)
    return Action(STOP_REPLACING, why) if why else Action(NOTHING)


def _worker(view: View) -> Action:
    seen = view.head_seen_at or view.ready_at
    if seen is not None and view.now - seen >= HEADLESS * view.pace:
        return Action(END_SELF, f"no head for {_minutes(HEADLESS * view.pace)}")
    if view.ready_at is None and view.now - view.booted >= SETUP * view.pace:
        return Action(END_SELF, f"the worker was not set up within {_minutes(SETUP * view.pace)}")
    return Action(NOTHING)


def _works(view: View) -> bool:
    """Whether anything runs, or waits for what may yet come: with no worker and none to be launched nothing will."""
    return view.busy or (view.waiting and (view.workers > 0 or not why_not_replace(view)))


def _since(alive: bool, before: datetime | None, now: datetime) -> datetime | None:
    return None if alive else before or now


def _lasts(view: View, since: datetime | None, patience: timedelta) -> bool:
    """Whether something has been missing for too long; time before the head was ready does not count."""
    return since is not None and view.ready_at is not None and view.now - max(since, view.ready_at) >= patience


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:g} minutes"
