"""The head's watchdog as a machine runs it: its script among real processes, AWS and the dashboard on loopback."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.node import ray_view
from infra.userdata import NodeFacts
from tests.infra.node_server import World
from tests.infra.nodes import NOTHING_THERE, PYTHON
from tests.infra.watched import LOOK, THRICE, TWICE, Node

STATUS = """\
======== Autoscaler status: 2026-11-26 17:09:34.243999 ========
Node status
---------------------------------------------------------------
Active:
 1 worker
Resources
---------------------------------------------------------------
Total Usage:
 {used}/4.0 CPU
 0B/15.72GiB memory

From request_resources:
 (none)
Pending Demands:
 {demands}
"""


def settled(node: Node) -> Node:
    """A head whose set-up was done a while ago, with two workers."""
    node.mark("ready", ago=600)
    node.world.ray = {"driver": True, "actors ALIVE": True}
    node.world.instance("i-1")
    node.world.instance("i-2")
    node.world.instance("i-head", fifty_role="head")
    node.world.instance("i-other", fifty_cluster="other")
    return node


def test_a_head_at_work_is_left_alone(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    shown = node.inside(node.monitor + TWICE)
    assert not node.off
    assert "fifty:" not in shown
    assert node.most == 3


def test_a_dead_monitor_ends_the_workers_and_then_the_head(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head"))
    node.stand_in("shutdown", f"cp {tmp_path}/state/ended {tmp_path}/off")
    shown = node.inside(TWICE)
    assert node.off
    assert "the autoscaler's monitor is dead" in shown
    assert sorted(node.alive()) == ["i-head", "i-other"]
    assert world.asked[-1] == "DescribeInstances"


def test_a_monitor_that_is_stopped_counts_as_dead(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head"))
    node.inside(f"{node.monitor} sleep 0.2; kill -STOP $!; {TWICE}")
    assert node.off


def test_no_driver_ends_the_cluster_after_the_idle_minutes(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    world.ray = {"driver": False, "actors ALIVE": True}
    shown = node.inside(node.monitor + TWICE)
    assert node.off
    assert "no driver for" in shown
    assert sorted(node.alive()) == ["i-head", "i-other"]


def test_a_driver_with_nothing_to_do_is_idle(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    world.ray = {"driver": True}
    shown = node.inside(node.monitor + TWICE)
    assert node.off
    assert "idle for" in shown


@pytest.mark.parametrize(
    "waits", ["placement_groups PENDING", "tasks PENDING_NODE_ASSIGNMENT", "actors PENDING_CREATION"]
)
def test_work_that_waits_for_a_machine_is_no_idleness(tmp_path: Path, world: World, waits: str) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    world.ray = {"driver": True, waits: True}
    node.inside(node.monitor + TWICE)
    assert not node.off


def test_time_before_readiness_is_no_idleness(tmp_path: Path, world: World) -> None:
    node = Node(tmp_path, world, "head", idle_minutes=0.001)
    node.variables["FIFTY_PACE"] = "1"
    node.born(NodeFacts("aws", "x", "fifty", "main", "fifty-1", "head", datetime.now(UTC) + timedelta(hours=1), 0.001))
    node.inside(TWICE)
    assert not node.off


def test_a_head_that_is_never_set_up_ends(tmp_path: Path, world: World) -> None:
    node = Node(tmp_path, world, "head")
    assert "was not set up" in node.inside(LOOK)
    assert node.off


BUSY = "cd {user}/fifty; {python} -c 'while True: pass' & sleep 0.2; cd {folder}; "
WAITS = "cd {user}/fifty; {extra}{python} -c 'import time; time.sleep(600)' & cd {folder}; "


def test_a_stage_that_trains_on_the_head_without_ray_is_at_work(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    world.ray = {"driver": False}
    busy = BUSY.format(user=tmp_path / "user", python=PYTHON, folder=tmp_path)
    node.inside(f"{node.monitor}{busy}{LOOK}; sleep 1; {LOOK}")
    assert not node.off


@pytest.mark.parametrize(("extra", "why"), [("", "idle for"), ("FIFTY_SERVICE=1 ", "no driver for")])
def test_what_only_waits_in_the_projects_folder_is_idle_and_a_service_is_nobodys_work(
    tmp_path: Path, world: World, extra: str, why: str
) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    world.ray = {"driver": False}
    waits = WAITS.format(user=tmp_path / "user", python=PYTHON, folder=tmp_path, extra=extra)
    assert why in node.inside(node.monitor + waits + THRICE)
    assert node.off


@pytest.mark.parametrize(
    ("used", "demands", "off"),
    [
        ("2.0", "(no resource demands)", False),
        ("0.0", "{'GPU': 1.0}: 3+ pending", False),
        ("0.0", "(no resource demands)", True),
    ],
)
def test_where_the_dashboard_is_dead_the_command_is_asked(
    tmp_path: Path, world: World, used: str, demands: str, off: bool
) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    world.ray = None
    waits = WAITS.format(user=tmp_path / "user", python=PYTHON, folder=tmp_path, extra="")
    ray = tmp_path / "venv/bin/ray"
    ray.write_text(
        '#!/bin/sh\n[ -n "$RAY_AUTH_TOKEN_PATH" ] && [ "$*" = "status --address 10.0.0.1:6379" ] || exit 1\n'
        f"cat {tmp_path}/status\n"
    )
    ray.chmod(0o755)
    (tmp_path / "status").write_text(STATUS.format(used=used, demands=demands))
    shown = node.inside(node.monitor + waits + THRICE)
    assert "the dashboard does not answer" in shown
    assert node.off is off


def test_where_nobody_answers_the_processes_are_what_counts(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    world.ray = None
    shown = node.inside(node.monitor + TWICE)
    assert "`ray status` does not answer" in shown
    assert node.off


def test_after_three_set_ups_that_failed_no_worker_is_replaced_until_one_succeeds(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head"))
    for name in ("i-3", "i-4"):
        world.instance(name, "update-failed")
    node.inside(node.monitor + LOOK)
    assert node.most == 3
    world.instance("i-5", "update-failed", state="terminated")
    owner = node.config.stat()
    shown = node.inside(node.monitor + LOOK)
    assert "3 set-ups of workers in a row have failed; at most 2 workers from now on" in shown
    assert node.most == 2
    assert (node.config.stat().st_uid, node.config.stat().st_mode) == (owner.st_uid, owner.st_mode)
    world.instances["i-1"]["state"] = "terminated"
    node.inside(node.monitor + LOOK)
    assert node.most == 1
    world.instance("i-6")
    assert "up to 3 workers may be launched again" in node.inside(node.monitor + LOOK)
    assert node.most == 3
    assert not node.off


def test_while_the_deadline_cannot_be_read_none_is_replaced(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head"))
    (tmp_path / "state/told.json").unlink()
    shown = node.inside(node.monitor + LOOK)
    assert "deadline cannot be read; at most 2 workers" in shown
    assert node.most == 2
    assert not node.off


def test_what_the_cloud_has_never_told_is_not_taken_for_none(tmp_path: Path, world: World) -> None:
    """Else workers at work would be ended for a cloud that cannot be asked."""
    node = settled(Node(tmp_path, world, "head", hours=0.1))
    node.variables["AWS_ENDPOINT_URL"] = NOTHING_THERE
    assert "cannot be listed" in node.inside(node.monitor + LOOK)
    assert node.most == 3


def test_near_the_deadline_none_is_replaced(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head", hours=0.1))
    assert "away; at most 2 workers" in node.inside(node.monitor + LOOK)
    assert node.most == 2


def test_a_launch_by_ray_up_again_is_held_to_the_same(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head", hours=0.1))
    node.inside(node.monitor + LOOK)
    node.config.write_text(json.dumps({"max_workers": 3}))
    node.inside(node.monitor + LOOK)
    assert node.most == 2


def test_a_cloud_that_does_not_answer_keeps_no_head_on(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head"))
    node.variables["AWS_ENDPOINT_URL"] = NOTHING_THERE
    shown = node.inside(TWICE)
    assert "the workers cannot be ended just now" in shown
    assert node.off


def test_the_monitor_is_killed_first_lest_it_replaces_what_is_ended(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head", idle_minutes=0.001))
    world.ray = {"driver": False}
    shown = node.inside(f"{node.monitor} monitor=$!; {TWICE}; kill -0 $monitor 2>/dev/null && echo lives || echo dead")
    assert "dead" in shown.split()
    assert node.off


def test_many_workers_are_listed_page_by_page_and_ended_by_the_hundred(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head"))
    world.page = 60
    for number in range(150):
        world.instance(f"i-w{number}")
    node.inside(TWICE)
    assert sorted(node.alive()) == ["i-head", "i-other"]
    assert world.asked.count("TerminateInstances") == 2


def test_what_it_remembers_may_be_damaged(tmp_path: Path, world: World) -> None:
    node = settled(Node(tmp_path, world, "head"))
    for name in ("view.json", "setups.json", "told.json", "ticks.json"):
        (tmp_path / "state" / name).write_text("{half")
    node.inside(node.monitor + TWICE)
    assert not node.off


@pytest.mark.parametrize(
    ("used", "demands", "busy", "waiting"),
    [
        ("0.0", "(no resource demands)", False, False),
        ("1.5", "(no resource demands)", True, False),
        ("0.0", "{'CPU': 1.0}: 1+", False, True),
    ],
)
def test_what_ray_status_prints_is_understood(used: str, demands: str, busy: bool, waiting: bool) -> None:
    activity: Any = ray_view.parse_status(STATUS.format(used=used, demands=demands))
    assert (activity.driver, activity.busy, activity.waiting) == (None, busy, waiting)
