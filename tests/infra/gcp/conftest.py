"""What the tests of Google's cloud get: the double, and a provider that talks to it."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.gcp import Gcp
from infra.settings import CloudConfig
from tests.infra.gcp.double import Double

SETTINGS = CloudConfig(ssh_from="203.0.113.7", workers=2)


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """Google Cloud, for this process and its children; it must have been asked only what Google would understand."""
    folder = tmp_path / "double"
    folder.mkdir()
    with Double() as double:
        for name, value in double.environment(folder).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("infra.gcp.clients.RETRIES", 0)
        monkeypatch.setattr("infra.gcp.accounts.PAUSE_SECONDS", 0.01)
        yield double
        gc.collect()  # closes connections
    assert double.problems == []


@pytest.fixture
def gcp(double: Double) -> Gcp:
    """The provider, with GPUs of the kind T4."""
    return Gcp(SETTINGS)
