"""`ray up` as a child: it ends when we say so, leaves nothing behind, and its failure is one sentence."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import record
from infra.faults import Fault, NoCapacity, Refused
from infra.launcher import RayUp, end_leftover, failure

pytestmark = pytest.mark.usefixtures("folder")


def stand_in(folder: Path, body: str) -> tuple[str, ...]:
    """A script that is called in place of `ray`."""
    script = folder / "ray.py"
    script.write_text(textwrap.dedent(body))
    return (sys.executable, str(script))


def launch(folder: Path, body: str) -> list[str]:
    said: list[str] = []
    record.write(record.file("main", ".yaml"), b"{}")
    RayUp(stand_in(folder, body))(record.file("main", ".yaml"), record.file("main", ".log"), said.append)
    return said


def test_it_is_called_without_caches_in_a_folder_of_its_own(folder: Path) -> None:
    launch(
        folder,
        """
        import json, os, sys
        json.dump([sys.argv[1:], os.environ["TMPDIR"], os.listdir(os.environ["TMPDIR"]), os.getpgrp()], open("x", "w"))
        """,
    )
    import json

    arguments, own, inside, group = json.loads(Path("x").read_text())
    assert arguments[0] == "up"
    assert {"--yes", "--no-config-cache"} <= set(arguments)
    assert arguments[-1] == str(record.file("main", ".yaml"))
    assert inside == []
    assert not Path(own).exists()
    assert group != os.getpgrp()


def test_what_it_says_goes_to_the_log_and_its_steps_to_the_person(folder: Path) -> None:
    said = launch(
        folder,
        """
        print("chatter")
        print("    \\x1b[36m[1/7] Waiting for SSH to become available\\x1b[0m")
        print("Launched a new head node")
        """,
    )
    assert said == ["  [1/7] Waiting for SSH to become available", "  Launched a new head node"]
    assert "chatter" in record.file("main", ".log").read_text()


FAILURES = {
    "An error occurred (UnauthorizedOperation) when calling the RunInstances operation: You are not authorized.": (
        Fault,
        "RunInstances: You are not authorized (UnauthorizedOperation)",
    ),
    "botocore: An error occurred (InsufficientInstanceCapacity) when calling the RunInstances operation "
    "(reached max retries: 0): We have none.": (
        NoCapacity,
        "RunInstances: We have none (InsufficientInstanceCapacity)",
    ),
    "fifty: torch sees no GPU on this machine\nSSH command failed.\nFailed to setup head node.": (
        Fault,
        "torch sees no GPU on this machine",
    ),
    "all is well\nFailed to setup head node.\n[after]": (Fault, "Failed to setup head node"),
    "Traceback (most recent call last):\n  File 'x'\nValueError: error in yaml": (Fault, "ValueError: error in yaml"),
    "": (Fault, "exit code 3, without a word"),
}


@pytest.mark.parametrize("output", FAILURES)
def test_a_failure_is_one_sentence(output: str) -> None:
    kind, why = FAILURES[output]
    fault = failure(output, Path("main.log"), 3)
    assert type(fault) is kind
    assert str(fault) == (
        f"`ray up` failed: {why}. All it said is in main.log; "
        "`fifty up` tries again, `fifty down` removes what is there"
    )


def test_an_exit_code_is_a_failure(folder: Path) -> None:
    with pytest.raises(Fault, match="`ray up` failed: Failed to launch"):
        launch(folder, "print('Failed to launch'); raise SystemExit(1)")


def test_what_it_needs_is_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(Refused, match="`ray` is not on this machine"):
        RayUp(("ray",)).check()
    with pytest.raises(Refused, match=r"`ssh` is not on this machine.*openssh-client"):
        RayUp((sys.executable,)).check()


def gone(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{number}/stat").read_text().split()[2] == "Z"


def eventually(happens: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < until
        time.sleep(0.02)


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("numbers.part", "w").write(f"{child.pid}")
import os; os.replace("numbers.part", "numbers")
time.sleep(600)
"""
PARENT = """
from pathlib import Path
from infra import interrupts, record
from infra.launcher import RayUp
import sys
interrupts.install()
record.write(record.file("main", ".yaml"), b"{}")
try:
    RayUp((sys.executable, sys.argv[1]))(record.file("main", ".yaml"), record.file("main", ".log"), print)
except interrupts.Interrupted as interrupted:
    sys.exit(128 + interrupted.number)
"""


def parent(folder: Path, environment: Callable[[], dict[str, str]], child: str) -> "subprocess.Popen[bytes]":
    stand_in(folder, child)
    process = subprocess.Popen([sys.executable, "-c", PARENT, str(folder / "ray.py")], env=environment())
    eventually(lambda: Path("numbers").exists())
    return process


def test_ctrl_c_ends_the_child_and_its_children(folder: Path, environment: Callable[[], dict[str, str]]) -> None:
    process = parent(folder, environment, STUBBORN.replace("SIG_IGN", "SIG_DFL"))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    eventually(lambda: gone(int(Path("numbers").read_text())))
    assert not end_leftover("main")


def test_a_child_whose_parent_was_killed_is_ended_by_the_next_command(
    folder: Path, environment: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.launcher.MERCY_SECONDS", 0.3)
    process = parent(folder, environment, STUBBORN)
    process.kill()
    process.wait(60)
    number = int(Path("numbers").read_text())
    assert not gone(number)
    assert end_leftover("main")
    eventually(lambda: gone(number))
    assert not end_leftover("main")


def test_there_is_no_leftover_where_nothing_was_launched() -> None:
    assert not end_leftover("main")
