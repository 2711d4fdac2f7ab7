"""The dashboard: it says in one line why it does not start, listens on loopback alone, and ends on Ctrl-C."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines import rebuild, ui


@pytest.fixture(autouse=True)
def _in(folder: Path, root: Path) -> None:
    """A folder with a valid params.yaml."""
    (folder / "params.yaml").write_text((root / "params.yaml").read_text())


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["ui", *arguments])
        return ui.main()


def test_a_taken_port_is_one_line(taken: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--port", str(taken)) == 1
    assert capsys.readouterr() == ("", f"ui: port {taken} is taken; choose another: make ui PORT={taken + 1}\n")
    assert not Path("mlruns").exists()


@pytest.mark.parametrize("port", ["0", "-1", "65536"])
def test_a_port_that_cannot_be_is_one_line(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--port", port) == 2
    assert capsys.readouterr().err == f"ui: port {port} is not between 1 and 65535\n"


def test_a_server_of_its_own_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:s3cret@mlflow.example.com/x")
    assert run() == 1
    said = capsys.readouterr().err
    assert said == "ui: MLFLOW_TRACKING_URI names a server of its own; open https://mlflow.example.com/x\n"


def test_what_cannot_be_sent_stops_the_dashboard_with_its_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(rebuild, "sync", fail)
    assert run("--port", str(free_port())) == 1
    assert "disk full" in capsys.readouterr().err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def other_addresses() -> list[str]:
    """Addresses of this machine that are not loopback."""
    found = {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return sorted(str(address) for address in found if not str(address).startswith("127."))


def status(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        return int(answer.status)


def alive(group: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


@pytest.mark.slow
def test_the_dashboard_answers_on_loopback_alone_and_ends_on_ctrl_c(environment: Callable[[], dict[str, str]]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "pipelines.ui", "--port", str(port)]
    with Path("log").open("w") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                assert status(port) == 200
                break
            time.sleep(0.2)
        else:
            pytest.fail(Path("log").read_text())
        assert (
            f"ui: http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning (Ctrl-C ends it)"
            in Path("log").read_text()
        )
        for address in other_addresses():
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((address, port), 2)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
        deadline = time.monotonic() + 10
        while alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not alive(process.pid), "a process of the dashboard is left"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
