"""The dead-man's switch as a machine runs it: its script is a process, AWS is on loopback, `shutdown` is pretended."""

import ast
import json
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.node import rules
from infra.userdata import NodeFacts, bare
from tests.infra.node_server import World
from tests.infra.nodes import CHECKOUT, KEYS, Site

HOUR = 3600
NAME = "/fifty/fifty/main/deadline"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def facts(until: float | None, role: str = "head", cloud: str = "aws", life: int | None = None) -> NodeFacts:
    deadline = None if until is None else datetime.fromtimestamp(int(until), UTC)
    return NodeFacts(cloud, "eu-west-1", "fifty", "main", "fifty-1", role, deadline, 10.0, life)  # type: ignore[arg-type]


def test_it_leaves_a_machine_alone_before_the_deadline(site: Site, world: World) -> None:
    now = time.time()
    site.born(facts(now + HOUR))
    site.variables["AWS_ENDPOINT_URL"] = world.url
    world.parameters[NAME] = str(int(now + HOUR))
    site.deadman()
    assert not site.off
    assert json.loads(site.remembers("told.json"))["deadline"] == int(now + HOUR)


def test_a_deadline_that_was_moved_holds_and_not_the_own(site: Site, world: World) -> None:
    now = time.time()
    site.born(facts(now - HOUR))
    site.variables["AWS_ENDPOINT_URL"] = world.url
    world.parameters[NAME] = str(int(now + HOUR))
    site.deadman()
    assert not site.off
    world.parameters[NAME] = str(int(now - 1))
    assert "has been reached" in site.deadman()
    assert site.off


def test_the_own_deadline_holds_while_the_state_outside_cannot_be_read(site: Site) -> None:
    now = time.time()
    site.born(facts(now + HOUR))
    assert "cannot be read" in site.deadman()
    assert not site.off
    assert "(own)" in site.deadman("--now", str(now + HOUR))
    assert site.off


def test_a_parameter_that_is_not_there_is_one_that_cannot_be_read(site: Site, world: World) -> None:
    site.born(facts(time.time() - 1))
    site.variables["AWS_ENDPOINT_URL"] = world.url
    assert "ParameterNotFound" in site.deadman()
    assert site.off


def test_what_was_read_a_while_ago_still_holds_but_not_for_ever(site: Site, world: World) -> None:
    now = time.time()
    site.born(facts(now - HOUR))
    site.variables["AWS_ENDPOINT_URL"] = world.url
    world.parameters[NAME] = str(int(now + HOUR))
    site.deadman()
    site.variables["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    trusted = rules.TRUSTED.total_seconds()
    site.deadman("--now", str(now + trusted - 30))
    assert not site.off
    site.deadman("--now", str(now + trusted + 30))
    assert site.off


def test_the_machines_own_role_signs_where_no_keys_are_given(site: Site, world: World) -> None:
    now = time.time()
    site.born(facts(now - HOUR))
    world.keys = ("ASIAROLE", "a secret of the role", "a/session+token==")
    world.parameters[NAME] = str(int(now + HOUR))
    site.variables = {"AWS_ENDPOINT_URL": world.url, "AWS_EC2_METADATA_SERVICE_ENDPOINT": world.url}
    site.deadman()
    assert not site.off


def test_keys_that_do_not_fit_read_nothing(site: Site, world: World) -> None:
    site.born(facts(time.time() - HOUR))
    site.variables = {**KEYS, "AWS_SECRET_ACCESS_KEY": "another", "AWS_ENDPOINT_URL": world.url}
    world.parameters[NAME] = str(int(time.time() + HOUR))
    assert "HTTP 403" in site.deadman()
    assert site.off


@pytest.mark.parametrize("slow", [120.0, 2 * HOUR])
def test_a_slow_clock_buys_no_time(site: Site, world: World, slow: float) -> None:
    """Two hours wrong, the first signature is refused, and the second is by the cloud's clock."""
    now = time.time()
    site.born(facts(now + HOUR))
    site.variables["AWS_ENDPOINT_URL"] = world.url
    world.slow = slow
    world.parameters[NAME] = str(int(now + slow + 60))
    site.deadman()
    assert not site.off
    world.parameters[NAME] = str(int(now + slow - 60))
    site.deadman()
    assert site.off


def test_a_fast_clock_still_reads_the_deadline(site: Site, world: World) -> None:
    now = time.time()
    site.born(facts(now - HOUR))
    site.variables["AWS_ENDPOINT_URL"] = world.url
    world.slow = -2 * HOUR
    world.parameters[NAME] = str(int(now + HOUR))
    site.deadman()
    assert not site.off


def test_on_gcp_the_deadline_is_fixed_and_a_machine_deletes_itself_or_halts(site: Site) -> None:
    site.variables["GCE_METADATA_HOST"] = "127.0.0.1:9"
    now = time.time()
    site.born(facts(now + HOUR, cloud="gcp"))
    site.deadman()
    assert not site.off
    assert "so it halts" in site.deadman("--now", str(now + HOUR))
    assert site.off


@pytest.mark.parametrize("role", ["head", "worker"])
def test_launched_by_hand_it_lives_half_an_hour_until_its_set_up_tells_it_more(site: Site, role: str) -> None:
    now = time.time()
    site.born(facts(None, role, life=4 * HOUR), booted=now)
    site.deadman("--now", str(now + 1790))
    assert not site.off
    site.mark("launched", f"{int(now) - HOUR}\n")
    site.deadman("--now", str(now + 3 * HOUR - 10))
    assert not site.off
    site.deadman("--now", str(now + 3 * HOUR + 10))
    assert site.off


@pytest.mark.parametrize("told", ["", "nonsense", "99999999999999999999", "later"])
def test_launched_by_hand_it_believes_no_head_that_is_younger_than_itself(site: Site, told: str) -> None:
    now = time.time()
    site.born(facts(None, "worker", life=4 * HOUR), booted=now)
    site.mark("launched", str(int(now) + HOUR) if told == "later" else told)
    site.deadman("--now", str(now + 1810))
    assert site.off


SHELL = str(CHECKOUT / "infra/node/deadman.sh")


def shell(site: Site, deadline: str, **files: str) -> bool:
    """Run the part that needs no Python; whether it powered off."""
    (site.folder / "home/deadline").write_text(deadline)
    for name, text in files.items():
        path = site.folder / name.replace("__", "/")
        path.write_text(text)
    site.run("/bin/sh", SHELL)
    return site.off


def test_without_python_the_shell_decides(site: Site) -> None:
    assert not shell(site, str(int(time.time()) + HOUR))
    assert shell(site, str(int(time.time()) - 1))


@pytest.mark.parametrize("deadline", ["", "tomorrow"])
def test_a_deadline_that_is_no_number_ends_the_machine(site: Site, deadline: str) -> None:
    assert shell(site, deadline)


@pytest.mark.parametrize(
    ("launched", "off"), [(-HOUR, False), (-5 * HOUR, True), (HOUR, True), ("x", True), ("", True)]
)
def test_by_hand_the_shell_counts_from_the_heads_launch(site: Site, launched: float | str, off: bool) -> None:
    now = int(time.time())
    told = str(now + launched) if isinstance(launched, int) else str(launched)
    files = {"home__life": str(4 * HOUR), "state__booted": str(now), "state__marks__launched": told}
    assert shell(site, str(now - 1), **files) is off


def test_where_python_fails_the_shell_decides(site: Site) -> None:
    """As when node.json was lost, or the disk is full of zeros."""
    shutil.copytree(CHECKOUT / "infra/node", site.folder / "home/infra/node")
    (site.folder / "home/node.json").write_text("{}")
    del site.variables["AWS_ENDPOINT_URL"]
    assert not shell(site, str(int(time.time()) + HOUR))
    assert shell(site, str(int(time.time()) - 1))


def test_where_python_decides_the_shell_does_not(site: Site, world: World) -> None:
    shutil.copytree(CHECKOUT / "infra/node", site.folder / "home/infra/node")
    now = time.time()
    site.born(facts(now - HOUR))
    site.variables["AWS_ENDPOINT_URL"] = world.url
    world.parameters[NAME] = str(int(now + HOUR))
    assert not shell(site, str(int(now - HOUR)))


def test_a_full_disk_keeps_no_machine_on(site: Site) -> None:
    site.born(facts(time.time() - 1))
    (site.folder / "state/told.json").mkdir()  # cannot be replaced by a file, as on a full disk
    site.deadman()
    assert site.off


@pytest.mark.parametrize("path", sorted((CHECKOUT / "infra/node").glob("*.py")), ids=lambda path: path.stem)
def test_what_runs_on_nodes_is_python_3_9_and_needs_nothing_installed(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    assert "from __future__ import annotations" in source
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    allowed = {"__future__", "infra.node", *(f"infra.node.{file.stem}" for file in path.parent.glob("*.py"))}
    assert all(name in allowed or name.partition(".")[0] in sys.stdlib_module_names for name in imported)
    compile(bare(source), path.name, "exec")
