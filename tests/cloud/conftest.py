"""One pretended AWS for each process of the tests, thrown away and begun anew after each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cloud.cluster import Cluster
from tests.pretend_aws.client import PretendAws
from tests.pretend_aws.launch import why_not

PACE = 0.2  # of what a node waits for, other than the minutes of `cloud.idle_minutes`


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, for whoever runs this folder alone."""
    config.addinivalue_line("markers", "cloud: runs `fifty` in the pretended AWS; needs root; make test-cloud")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything in this folder needs the pretended AWS, and minutes."""
    asked = "cloud" in (config.getoption("markexpr") or "")
    reason = why_not() if asked else "takes minutes: make test-cloud"
    for item in items:
        if "tests/cloud/" in item.path.as_posix():
            item.add_marker("cloud")
            item.add_marker(pytest.mark.timeout(900))
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


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
        return Cluster(aws, name, **settings)

    return make
