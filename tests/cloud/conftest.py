"""One pretended AWS for each process of the tests, thrown away and begun anew after each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cloud.cluster import Cluster
from tests.pretend_aws.client import PretendAws
from tests.pretend_aws.launch import why_not

# The longest first, so that none is left to the end; a process is given two tests at a time, and so one of these.
LONGEST = (
    "test_ray_up_by_hand",
    "test_more_time_and_then_a_head_that_hangs",
    "test_every_set_up_of_a_worker_fails",
    "test_the_deadline_comes_while_a_task_runs",
    "test_a_worker_vanishes_without_closing_its_sockets",
    "test_the_head_vanishes",
    "test_on_google_the_head_vanishes_and_the_worker_deletes_itself",
    "test_the_driver_is_killed",
    "test_a_job_brings_a_worker_and_all_of_it_ends_by_itself",
    "test_on_google_a_job_brings_a_worker_and_all_of_it_ends_by_itself",
    "test_the_monitor_is_killed",
    "test_no_spot_machine_is_to_be_had",
)
PACE = 0.2  # of what a node waits for, other than the minutes of `cloud.idle_minutes`


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, for whoever runs this folder alone."""
    config.addinivalue_line("markers", "cloud: runs `fifty` in the pretended AWS; needs root; make test-cloud")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything in this folder needs the pretended AWS, and minutes."""
    asked = config.getoption("markexpr") == "cloud"
    reason = why_not() if asked else "takes minutes: make test-cloud"
    if asked:
        items[:] = in_turns(items)
    for item in items:
        if "tests/cloud/" in item.path.as_posix():
            item.add_marker("cloud")
            item.add_marker(pytest.mark.timeout(900))
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, for the table in docs/cloud.md."""
    passed = terminalreporter.stats.get("passed", [])
    measured = [(report.nodeid.rpartition("::")[2], *each) for report in passed for each in report.user_properties]
    if measured:
        terminalreporter.section(
            f"seconds, with idle_minutes 1 and all else that nodes wait for {PACE:g} times as long"
        )
    for name, what, seconds in measured:
        terminalreporter.write_line(f"{name}: {seconds:.0f} s {what}")


def in_turns(items: list[pytest.Item]) -> list[pytest.Item]:
    """Order tests so that a long one and a short one follow each other."""
    long = sorted((one for one in items if one.name in LONGEST), key=lambda one: LONGEST.index(one.name))
    short = [one for one in items if one not in long]
    turns = [one for pair in zip(long, short, strict=False) for one in pair]
    return turns + long[len(short) :] + short[len(long) :]


@pytest.fixture(scope="session")
def pretended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PretendAws]:
    """A pretended AWS."""
    aws = PretendAws(tmp_path_factory.mktemp("pretended") / "log", pace=PACE)
    yield aws
    aws.close()


@pytest.fixture
def aws(pretended: PretendAws) -> Iterator[PretendAws]:
    """A pretended AWS that is empty."""
    yield pretended
    pretended.reset()


@pytest.fixture
def cluster(aws: PretendAws, request: pytest.FixtureRequest) -> Callable[..., Cluster]:
    """Make a project whose cluster has the given settings."""

    def make(name: str = "main", **settings: Any) -> Cluster:
        made = Cluster(aws, name, **settings)
        made.note = lambda what, seconds: request.node.user_properties.append((what, seconds))
        return made

    return make
