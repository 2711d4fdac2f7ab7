"""A checkout of its own for every end-to-end test: the real DVC, Ray and MLflow on the real digits, only smaller."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

SOURCE = Path(__file__).parents[2]
PARTS = ("pipelines", "lit_models", "dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml")
PARAMS = """\
datasets:
  digits:
    kind: digits
    fetch: {}
    prepare: {limit: 40}
    augment: {copies: 1, rotate: 10}
experiments:
  digits-mlp:
    dataset: digits
    family: mlp
    model: {hidden: 32}
    search: {trials: 3, epochs: 2, space: {lr: {loguniform: [0.001, 0.01]}, dropout: {uniform: [0.0, 0.3]}}}
    train: {epochs: 3}
    evaluate: {}
  digits-cnn:
    dataset: digits
    family: cnn
    model: {}
    search: {trials: 2, epochs: 1, space: {lr: {loguniform: [0.001, 0.01]}}}
    train: {fit_on: train+val}
    evaluate: {filter_steps: 5}
report: {}
"""


# Seconds: what takes a minute alone may take ten on a machine that others use too.
PATIENCE = 1200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder, which start whole pipelines, more time than others."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PATIENCE))


@dataclass
class Checkout:
    """A folder with the project in it, under Git and DVC; `more` is added to the environment of what runs there."""

    root: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """As a person's shell has it: this environment's commands first, no tracking server named."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "RAY_", "PYTEST_"))}
        kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        kept["GIT_CONFIG_GLOBAL"] = str(self.root / ".git" / "test-config")
        return kept | self.more

    def run(self, *command: str, code: int = 0, timeout: float = 1000) -> str:
        """Run a command in the checkout and return what it printed; fail on any other exit code."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            text=True,
            timeout=timeout,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{command} gave {done.returncode}, expected {code}:\n{done.stdout}"
        return done.stdout

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start a command in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment,
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )

    def stage(self, name: str, key: str, code: int = 0) -> str:
        """Run one stage without DVC."""
        return self.run(sys.executable, "-m", f"pipelines.{name}", key, code=code)

    def edit(self, old: str, new: str) -> None:
        """Replace a text in params.yaml, which must be there."""
        path = self.root / "params.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)


def make_checkout(root: Path) -> Checkout:
    """Copy the project to `root` and put it under Git and DVC."""
    root.mkdir(parents=True)
    for part in PARTS:
        if (SOURCE / part).is_dir():
            shutil.copytree(SOURCE / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(SOURCE / part, root / part)
    (root / "params.yaml").write_text(PARAMS)
    checkout = Checkout(root)
    checkout.run("git", "init", "-q", "-b", "main")
    (root / ".git" / "test-config").write_text("[user]\nname = a person\nemail = person@example.org\n")
    checkout.run("dvc", "init", "-q")
    shutil.copy2(SOURCE / ".dvc" / "config", root / ".dvc" / "config")
    checkout.commit("the project")
    return checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Checkout:
    """A checkout after its first `dvc repro`; nobody may change it. The workers of pytest-xdist share one."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    checkout = Checkout(shared / "finished" / "fifty")
    whole = shared / "finished" / "whole"
    with FileLock(shared / "finished.lock"):
        if not whole.exists():
            shutil.rmtree(checkout.root.parent, ignore_errors=True)
            make_checkout(checkout.root).run("dvc", "repro")
            checkout.commit("the first results")
            whole.touch()
    return checkout


@pytest.fixture
def checkout(finished: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """A copy of the finished checkout that a test may change."""
    root = tmp_path / "fifty"
    shutil.copytree(finished.root, root, symlinks=True)
    # MLflow's database names its artifacts by absolute path, so a copy begins without it.
    shutil.rmtree(root / "mlruns")
    yield Checkout(root)
    leftovers = [line for line in _processes() if str(root) in line]
    assert not leftovers, f"processes left behind: {leftovers}"
    shutil.rmtree(root)


def _processes() -> list[str]:
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    return [line for line in listing.stdout.splitlines() if " ps -eo" not in line]


@pytest.fixture
def kill_group() -> Callable[["subprocess.Popen[str]", int], str]:
    """Send a signal to a whole process group, as a terminal's Ctrl-C does, and return what was printed."""

    def kill(process: "subprocess.Popen[str]", number: int) -> str:
        os.killpg(process.pid, number)
        try:
            output, _ = process.communicate(timeout=240)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return output or ""

    return kill
