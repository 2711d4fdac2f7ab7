"""Fixtures that several tests of what machines run share."""

from collections.abc import Iterator

import pytest

from tests.infra.node_server import World, serving


@pytest.fixture
def world() -> Iterator[World]:
    with serving() as world:
        yield world
