"""The worker's watchdog as a machine runs it: with a head on loopback that answers, or vanishes."""

import json
import socket
import time
from pathlib import Path

import pytest

from tests.infra.node_server import World
from tests.infra.watched import LOOK, TWICE, Node

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
