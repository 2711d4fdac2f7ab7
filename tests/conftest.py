"""What every test gets: a clean environment; on request an empty folder and a way to run our modules."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# As `lit_models` does: a test that multiplies matrices before it is imported must not settle it otherwise.
os.environ.setdefault("MKL_CBWR", "AUTO")
ROOT = Path(__file__).parents[1]
OURS = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI")

RunModule = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a tracking server or an experiment of their own."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout that is tested."""
    return ROOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def environment() -> Callable[[], dict[str, str]]:
    """The environment in which a process of its own finds our modules, wherever it runs."""

    def build() -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path}

    return build


@pytest.fixture
def run_module(environment: Callable[[], dict[str, str]]) -> RunModule:
    """`python -m <module> <arguments>` in the working folder, to its end; output as text."""

    def run(module: str, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", module, *arguments]
        merged = {**environment(), **env}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=merged)

    return run
