"""The watchdog as a machine runs it: its script among real processes, AWS and Ray's dashboard on loopback."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.cluster import Role
from infra.node import ray_view
from infra.node.cloud import Worker
from infra.node.setups import Book, note
from infra.userdata import NodeFacts
from tests.infra.node_server import World, serving
from tests.infra.nodes import NOTHING_THERE, PYTHON, Site

LOOK = f"{PYTHON} -B -m infra.node.watchdog"
# Minutes become milliseconds.
PACE = 1 / 10_000
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


@pytest.fixture
def world() -> Iterator[World]:
    with serving() as world:
        yield world


class Node(Site):
    """A machine of its own: its processes see each other and no others."""

    def __init__(
        self, folder: Path, world: World, role: Role, *, idle_minutes: float = 60.0, hours: float = 1.0
    ) -> None:
        super().__init__(folder)
        self.world = world
        self.variables |= {
            "AWS_ENDPOINT_URL": world.url,
            "FIFTY_DASHBOARD": world.url.removeprefix("http://"),
            "FIFTY_PACE": str(PACE),
        }
        now = time.time()
        deadline = datetime.now(UTC) + timedelta(hours=hours)
        facts = NodeFacts("aws", "eu-west-1", "fifty", "main", "fifty-1", role, deadline, idle_minutes)
        self.born(facts, booted=now - 0.5 * 3600)
        told = {"deadline": int(deadline.timestamp()), "at": int(now), "slow": 0.0}
        (folder / "state/told.json").write_text(json.dumps(told))
        token = folder / "user/.ray/auth_token"
        token.parent.mkdir()
        token.write_text(world.token)
        (folder / "user/fifty").mkdir()
        # The monitor is known by its command: the interpreter of the environment that Ray is in, and Ray's own file.
        monitor = folder / "venv/lib/ray/autoscaler/v2/monitor.py"
        monitor.parent.mkdir(parents=True)
        monitor.write_text("import time\ntime.sleep(600)\n")
        (folder / "venv/bin").mkdir()
        (folder / "venv/bin/python").symlink_to(PYTHON)
        self.config = folder / "user/ray_bootstrap_config.yaml"
        self.config.write_text(json.dumps({"max_workers": 3, "provider": {"type": "aws"}}))

    @property
    def monitor(self) -> str:
        environment = f"{self.folder}/venv"
        return f"{environment}/bin/python {environment}/lib/ray/autoscaler/v2/monitor.py --gcs-address=10.0.0.1:6379 & "

    def inside(self, script: str) -> str:
        if os.geteuid() != 0 or not shutil.which("unshare"):
            pytest.skip(
                "needs root and unshare: the watchdog reads the process table, and must see no others' Ray in it"
            )
        return self.run("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", f"{script}\nexit 0")

    @property
    def most(self) -> int:
        return int(json.loads(self.config.read_text())["max_workers"])

    def alive(self) -> list[str]:
        return [name for name, told in self.world.instances.items() if told["state"] == "running"]


def settled(node: Node) -> Node:
    """A head whose set-up was done a while ago, with two workers."""
    node.mark("ready", ago=600)
    node.world.ray = {"driver": True, "actors ALIVE": True}
    node.world.instance("i-1")
    node.world.instance("i-2")
    node.world.instance("i-head", fifty_role="head")
    node.world.instance("i-other", fifty_cluster="other")
    return node


TWICE = f"{LOOK}; sleep 0.3; {LOOK}"
# What the project's processes use of the processor is known at the second look, and missing since then at the third.
THRICE = f"{LOOK}; sleep 0.5; {TWICE}"


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


RAYLET = "bash -c 'exec -a /x/ray/core/raylet/raylet sleep 600' & sleep 0.2; "


def listening() -> socket.socket:
    """A head's GCS, as far as a worker calls it."""
    return socket.create_server(("127.0.0.1", 0))


def test_a_worker_with_a_head_stays(tmp_path: Path, world: World) -> None:
    node = Node(tmp_path, world, "worker")
    node.mark("ready", ago=600)
    with listening() as head:
        node.mark("head", f"127.0.0.1:{head.getsockname()[1]}\n")
        node.inside(RAYLET + TWICE)
    assert not node.off


def test_a_worker_whose_head_is_gone_goes_off(tmp_path: Path, world: World) -> None:
    node = Node(tmp_path, world, "worker")
    node.mark("ready", ago=600)
    with listening() as head:
        node.mark("head", f"127.0.0.1:{head.getsockname()[1]}\n")
        node.inside(RAYLET + LOOK)
        assert not node.off
    assert "no head for" in node.inside(f"{RAYLET} sleep 0.2; {LOOK}")
    assert node.off


def test_a_worker_whose_raylet_is_dead_serves_nobody(tmp_path: Path, world: World) -> None:
    """As when another machine has taken the vanished head's address."""
    node = Node(tmp_path, world, "worker")
    node.mark("ready", ago=600)
    with listening() as head:
        node.mark("head", f"127.0.0.1:{head.getsockname()[1]}\n")
        node.inside(LOOK)
    assert node.off


def test_a_worker_that_is_being_set_up_needs_no_raylet(tmp_path: Path, world: World) -> None:
    node = Node(tmp_path, world, "worker")
    (tmp_path / "state/booted").write_text(str(int(time.time())))
    node.variables["FIFTY_PACE"] = "0.01"
    with listening() as head:
        node.mark("head", f"127.0.0.1:{head.getsockname()[1]}\n", ago=60)
        node.inside(TWICE)
    assert not node.off


def test_a_worker_whose_head_died_before_it_ever_answered_goes_off(tmp_path: Path, world: World) -> None:
    node = Node(tmp_path, world, "worker")
    (tmp_path / "state/booted").write_text(str(int(time.time())))
    node.variables["FIFTY_PACE"] = "0.01"
    node.mark("head", "127.0.0.1:9\n", ago=60)
    assert "no head for" in node.inside(LOOK)
    assert node.off


def test_past_the_deadline_the_watchdog_ends_the_machine_too(tmp_path: Path, world: World) -> None:
    node = Node(tmp_path, world, "worker", hours=-0.01)
    node.inside(LOOK)
    assert node.off


@pytest.mark.parametrize("variable", ["2", "1000"])
def test_nothing_in_the_environment_lets_a_machine_wait_longer(tmp_path: Path, world: World, variable: str) -> None:
    node = Node(tmp_path, world, "worker")
    node.variables["FIFTY_PACE"] = variable
    node.inside(LOOK)
    assert json.loads(node.remembers("view.json"))["pace"] == 1.0


NOW = datetime(2026, 11, 26, 18, 0, tzinfo=UTC)


def worker(name: str, status: str, *, costs: bool = True, minutes: float = 5.0) -> Worker:
    return Worker(name, costs, status, NOW - timedelta(minutes=minutes))


def after(*looks: list[Worker]) -> Book:
    book = Book()
    for look in looks:
        book = note(book, look, NOW)
    return book


def test_failed_set_ups_are_counted_once_each_and_in_a_row() -> None:
    assert after([worker("a", "update-failed")], [worker("a", "update-failed")]).failed == 1
    assert after([worker("a", "update-failed")], [worker("a", "setting-up"), worker("b", "update-failed")]).failed == 2
    assert after([worker("a", "update-failed")], [worker("b", "up-to-date")]).failed == 0
    assert after([worker("b", "up-to-date")], [worker("a", "update-failed"), worker("b", "up-to-date")]).failed == 1


def test_a_worker_that_was_ready_has_not_failed_whatever_became_of_it() -> None:
    assert after([worker("a", "up-to-date")], [worker("a", "update-failed", costs=False, minutes=99)]).failed == 0


def test_a_set_up_that_hung_until_its_end_has_failed_and_one_that_was_cut_short_has_not() -> None:
    assert after([worker("a", "setting-up", costs=False, minutes=21)]).failed == 1
    assert after([worker("a", "setting-up", costs=False, minutes=3)]).failed == 0
    assert (
        after(
            [worker("a", "setting-up", costs=False, minutes=3)], [worker("a", "setting-up", costs=False, minutes=33)]
        ).failed
        == 0
    )


def test_ready_workers_are_those_that_are_set_up_and_cost_money() -> None:
    looks = [worker("a", "up-to-date"), worker("b", "up-to-date", costs=False), worker("c", "setting-up")]
    assert (after(looks).workers, after(looks).serving) == (2, 1)


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
