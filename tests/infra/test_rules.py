"""The rules of the dead-man's switch and the watchdog: a test per branch, and properties over all views."""

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.node import rules
from infra.node.rules import View, carry, decide, from_text, in_force, is_over, to_text, why_not_replace

BORN = datetime(2026, 11, 26, 12, tzinfo=UTC)
READY = BORN + timedelta(minutes=8)
DEADLINE = BORN + timedelta(hours=4)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def head(**values: Any) -> View:
    """A head at work, two hours after its launch."""
    alive = {"ready_at": READY, "monitor_alive": True, "driver_alive": True, "busy": True, "workers": 2}
    return View(**{"now": BORN + minutes(120), "role": "head", "deadline": DEADLINE, "booted": BORN, **alive, **values})


def worker(**values: Any) -> View:
    """A worker at work, two hours after its launch, whose head answered just now."""
    now = values.pop("now", BORN + minutes(120))
    seen = {"ready_at": READY, "head_seen_at": now}
    return View(**{"now": now, "role": "worker", "deadline": DEADLINE, "booted": BORN, **seen, **values})


def acts(first: View, *, every: float = 0.5, until: float = 60, **later: Any) -> tuple[str, float]:
    """Look again and again at what stays as it is; return the first action that ends something, and after how long."""
    seen = carry(None, first)
    for step in range(int(until / every) + 1):
        seen = carry(seen, replace(first, now=first.now + minutes(step * every), **later))
        action = decide(seen)
        if action.kind.startswith("end"):
            assert action.why
            return action.kind, step * every
    return "nothing", until


@pytest.mark.parametrize("view", [head(), worker()], ids=["head", "worker"])
def test_a_node_at_work_is_left_alone_until_the_deadline_and_no_longer(view: View) -> None:
    assert decide(replace(view, now=DEADLINE - minutes(16), head_seen_at=DEADLINE - minutes(16))).kind == "nothing"
    assert decide(replace(view, now=DEADLINE)).kind == "end_self"
    assert decide(replace(view, now=DEADLINE + minutes(600))).kind == "end_self"
    assert not is_over(DEADLINE - timedelta(seconds=1), DEADLINE)
    assert is_over(DEADLINE, DEADLINE)


def test_a_head_with_a_dead_monitor_takes_the_workers_down_though_they_work() -> None:
    assert acts(head(monitor_alive=False)) == ("end_workers_then_self", 2)


def test_a_monitor_that_is_started_anew_is_waited_for() -> None:
    lost = carry(None, head(monitor_alive=False))
    back = carry(lost, head(now=lost.now + minutes(1)))
    gone = carry(back, head(now=lost.now + minutes(2), monitor_alive=False))
    assert [decide(view).kind for view in (lost, back, gone)] == ["nothing"] * 3


def test_a_head_without_a_driver_ends_after_idle_minutes() -> None:
    assert acts(head(driver_alive=False)) == ("end_workers_then_self", 10)
    assert acts(head(driver_alive=False, idle_minutes=3)) == ("end_workers_then_self", 3)


def test_an_idle_head_ends_after_idle_minutes() -> None:
    assert acts(head(busy=False)) == ("end_workers_then_self", 10)


def test_idleness_and_a_missing_driver_count_from_readiness() -> None:
    starting = head(now=BORN, ready_at=None, busy=False, driver_alive=False, monitor_alive=False, workers=0)
    seen = carry(None, starting)
    for minute in range(8):
        seen = carry(seen, replace(starting, now=BORN + minutes(minute)))
        assert decide(seen).kind == "nothing"
    for minute in range(8, 18):
        seen = carry(seen, replace(starting, now=BORN + minutes(minute), ready_at=READY, monitor_alive=True))
        assert decide(seen).kind == "nothing"
    assert decide(carry(seen, replace(seen, now=READY + minutes(10)))).kind == "end_workers_then_self"


def test_a_head_that_waits_for_machines_is_not_idle() -> None:
    assert acts(head(busy=False, waiting=True, workers=0)) == ("nothing", 60)


def test_a_head_that_waits_in_vain_is_idle() -> None:
    assert acts(head(busy=False, waiting=True, workers=0, failed_setups=3)) == ("end_workers_then_self", 10)
    assert acts(head(busy=False, waiting=True, workers=1, failed_setups=3)) == ("nothing", 60)


@pytest.mark.parametrize(("role", "kind"), [("head", "end_workers_then_self"), ("worker", "end_self")])
def test_a_set_up_that_hangs_is_ended(role: str, kind: str) -> None:
    view = View(now=BORN, role=role, deadline=DEADLINE, booted=BORN)
    assert acts(view) == (kind, 30)


def test_a_worker_without_a_head_ends_after_five_minutes() -> None:
    view = worker()
    assert acts(view) == ("end_self", 5)
    assert acts(replace(view, head_seen_at=None, now=READY)) == ("end_self", 5), "it never had one"
    assert acts(replace(view, ready_at=None, now=BORN, head_seen_at=BORN)) == ("end_self", 5), "lost while it is set up"


def test_a_reboot_forgets_nothing() -> None:
    before = carry(None, worker(now=BORN + minutes(100)))
    after = View(now=BORN + minutes(105), role="worker", deadline=DEADLINE, booted=BORN + minutes(104))
    seen = carry(before, after)
    assert (seen.booted, seen.ready_at) == (BORN, READY)
    assert decide(seen).kind == "end_self"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"now": DEADLINE - minutes(15)}, "15 minutes"),
        ({"failed_setups": 3}, "3 set-ups"),
        ({"deadline_known": False}, "cannot be read"),
        ({"deadline": BORN + minutes(20), "now": BORN + minutes(15)}, "5 minutes"),
    ],
)
def test_replacements_stop(values: dict[str, Any], word: str) -> None:
    action = decide(head(**values))
    assert (action.kind, word in action.why) == ("stop_replacing", True)


def test_replacements_go_on_when_the_reason_is_gone() -> None:
    assert why_not_replace(head(failed_setups=2)) == ""
    late = head(now=DEADLINE - minutes(5))
    assert why_not_replace(late)
    assert why_not_replace(replace(late, deadline=DEADLINE + minutes(60))) == ""
    short = head(deadline=BORN + minutes(20), now=BORN + minutes(14))
    assert why_not_replace(short) == "", "a cluster of minutes has workers too"


def test_the_deadline_told_from_outside_holds_while_it_can_be_read() -> None:
    later, now = DEADLINE + minutes(90), BORN + minutes(120)
    assert in_force(DEADLINE, None, None, now) == (DEADLINE, False)
    assert in_force(DEADLINE, later, now, now) == (later, True)
    assert in_force(DEADLINE, later, now - minutes(14), now) == (later, True)
    assert in_force(DEADLINE, later, now - minutes(16), now) == (DEADLINE, False)
    assert in_force(DEADLINE, later, now + minutes(16), now) == (DEADLINE, False), "the clock went back"


def test_a_test_that_cannot_wait_says_so() -> None:
    assert acts(worker(pace=0.1), every=0.1) == ("end_self", 0.5)
    assert acts(head(pace=0.1, monitor_alive=False), every=0.1) == ("end_workers_then_self", 0.2)
    assert decide(View(now=BORN + minutes(3), role="head", deadline=DEADLINE, booted=BORN, pace=0.1)).why == (
        "the head was not set up within 3 minutes"
    )


def test_the_grace_is_within_what_is_paid_for() -> None:
    assert rules.GRACE == rules.PERIOD + rules.SKEW + rules.BOOT + rules.SHUTDOWN
    assert minutes(5) > rules.GRACE, "cloud.margin_minutes is 5 at least"


MOMENTS = st.integers(-300, 600).map(lambda number: BORN + minutes(number))
MAYBE = st.none() | MOMENTS
VIEWS = st.builds(
    View,
    now=MOMENTS,
    role=st.sampled_from(["head", "worker"]),
    deadline=MOMENTS,
    booted=MOMENTS,
    idle_minutes=st.floats(1, 60),
    pace=st.just(1.0),
    workers=st.integers(0, 3),
    failed_setups=st.integers(0, 5),
    **dict.fromkeys(("ready_at", "head_seen_at", "monitor_lost_at", "driver_lost_at", "idle_since"), MAYBE),
)


@given(VIEWS)
def test_whatever_a_node_sees_it_ends_at_the_deadline(view: View) -> None:
    action = decide(view)
    assert action.kind in ("nothing", "end_self", "end_workers_then_self", "stop_replacing")
    assert bool(action.why) == (action.kind != "nothing")
    assert action.kind.startswith("end") or view.now < view.deadline
    assert action.kind not in ("end_workers_then_self", "stop_replacing") or view.role == "head"


@given(VIEWS, VIEWS)
def test_what_is_remembered_survives_the_file_it_is_kept_in(before: View, view: View) -> None:
    seen = carry(before, view)
    assert from_text(to_text(seen)) == seen
    assert carry(seen, view).idle_since == seen.idle_since


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"now": 3}', '{"role": "head", "odd": 1}'])
def test_a_damaged_memory_is_as_if_there_were_none(text: str) -> None:
    assert from_text(text) is None
    whole = to_text(head())
    assert from_text(whole[: len(whole) // 2]) is None
    assert from_text(whole.replace("+00:00", "")) is None


def test_the_rules_stand_alone_and_run_on_python_3_9() -> None:
    """It is copied onto nodes: nothing but the standard library, and no syntax or name that came later."""
    source = Path(rules.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    plain = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert modules == {"__future__", "dataclasses", "datetime", "typing"}
    assert plain == {"json"}
    assert "UTC" not in source
