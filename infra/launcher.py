"""Runs `ray up` as a process group of its own, so that it ends when we say so and not before.

A `fifty up` that is killed outright leaves its `ray up` behind, which would go on to launch. So the child holds a lock
on a file that has its number; the next command finds the lock taken and ends it first.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from infra import record
from infra.cluster import Run
from infra.faults import Fault, NoCapacity, Refused

LOOK_SECONDS, MERCY_SECONDS = 0.2, 5.0
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Where Ray has come to: `[3/7] Processing file mounts`, `Launching a new head node`.
PROGRESS = re.compile(r"\[\d+/\d+\] .*|(Launched|Launching|Acquiring|New status|Got IP|Fetched IP)\b.*", re.IGNORECASE)
OURS = re.compile(r"\bfifty: (.+)")
CLIENT_ERROR = re.compile(r"An error occurred \((\w+)\) when calling the (\w+) operation(?: \([^)]*\))?: (.+?)\.?$")
FAILED = re.compile(r".*\b(failed|error|exception|could not|cannot|unable|denied)\b.*", re.IGNORECASE)
NONE_TO_GIVE = re.compile(
    r"InsufficientInstanceCapacity|InsufficientHostCapacity|SpotMaxPriceTooLow|ZONE_RESOURCE_POOL_EXHAUSTED\w*"
)

Say = Callable[[str], None]


class Launch(Protocol):
    """What launches a cluster from its rendered config: `ray up`, or the fake's own."""

    def check(self) -> None:
        """See that what it needs is on this machine.

        Raises:
            Refused: something is missing.
        """

    def accept(self, config: Mapping[str, Any], run: Run) -> None:
        """See that a rendered config lacks nothing of what ends and closes its machines.

        Raises:
            Refused: it does, and what.
        """

    def __call__(self, config: Path, log: Path, say: Say) -> None:
        """Launch, or go on with what was launched of it, and return when the head is set up.

        Raises:
            Fault: it failed, and why, in a sentence.
        """


class RayUp:
    """`ray up`.

    Args:
        command: how Ray is called.
    """

    def __init__(self, command: tuple[str, ...] | None = None) -> None:
        beside = Path(sys.executable).with_name("ray")
        self._command = command or (str(beside) if beside.exists() else "ray",)

    def check(self) -> None:
        """See that ray, ssh and rsync are on this machine."""
        for needed, package in ((self._command[0], "ray"), ("ssh", "openssh-client"), ("rsync", "rsync")):
            if not shutil.which(needed):
                raise Refused(f"`{needed}` is not on this machine, and `ray up` needs it; install {package}")

    def accept(self, config: Mapping[str, Any], run: Run) -> None:
        """See that nothing is missing, whoever wrote it."""
        from infra import guard

        guard.check(config, run)

    def __call__(self, config: Path, log: Path, say: Say) -> None:
        """Run it to its end; Ctrl-C ends the child and all its children."""
        with tempfile.TemporaryDirectory(prefix="fifty-ray-") as own:
            code = self._run(config, log, say, own)
        if code:
            raise failure(log.read_text(errors="replace"), log, code)

    def _run(self, config: Path, log: Path, say: Say, own: str) -> int:
        command = (*self._command, "up", "--yes", "--no-config-cache", "--log-style", "pretty", "--log-color", "false")
        # Ray keeps resolved configs in TMPDIR and would take an older cluster's for this one.
        environment = {**os.environ, "TMPDIR": own, "PYTHONUNBUFFERED": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        lock = _lock_file(config.stem)
        with log.open("wb") as output, os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.truncate(0)
            # The shell writes the number itself: were we killed now, nobody else would.
            shell = ("sh", "-c", f'echo $$ >/dev/fd/{held.fileno()}; exec "$@"', "sh")
            child = subprocess.Popen(
                (*shell, *command, str(config)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(held.fileno(),),
                start_new_session=True,
            )
            try:
                return _follow(child, log, say)
            finally:
                _end_group(child.pid, lambda: child.poll() is not None)
                child.wait()


def end_leftover(cluster: str) -> bool:
    """End a `ray up` whose `fifty up` was killed, so that it launches nothing any more; whether there was one."""
    lock = _lock_file(cluster)
    if not lock.exists():
        return False
    with lock.open("r+") as file:

        def free() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if free():
            return False
        while not (number := lock.read_text().strip()) and not free():
            time.sleep(LOOK_SECONDS)
        if number:
            _end_group(int(number), free)
    return True


def failure(output: str, log: Path, code: int) -> Fault:
    """Say in one sentence why `ray up` failed, from what it printed."""
    lines = [line.strip() for line in ANSI.sub("", output).splitlines() if line.strip()]
    ours = [match[1] for line in lines if (match := OURS.search(line))]
    client = [f"{match[2]}: {match[3]} ({match[1]})" for line in lines if (match := CLIENT_ERROR.search(line))]
    failed = [line for line in lines if FAILED.match(line) and not line.startswith(("Traceback", "File "))]
    why = (ours or client or failed or lines or [f"exit code {code}, without a word"])[-1].rstrip(".")
    kind = NoCapacity if NONE_TO_GIVE.search("\n".join(lines)) else Fault
    return kind(
        f"`ray up` failed: {why}. All it said is in {log}; `fifty up` tries again, `fifty down` removes what is there"
    )


def _lock_file(cluster: str) -> Path:
    return record.file(cluster, ".launching")


def _follow(child: "subprocess.Popen[bytes]", log: Path, say: Say) -> int:
    """Wait for the child, and tell what it comes to."""
    with log.open(errors="replace") as lines:
        code = None
        while code is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(LOOK_SECONDS)
            for line in lines:
                if match := PROGRESS.search(ANSI.sub("", line)):
                    say(f"  {match[0].strip()}")
        return code


def _end_group(number: int, ended: Callable[[], bool]) -> None:
    """End a process group, kindly and then not."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        if ended():
            return
        try:
            os.killpg(number, sent)
        except ProcessLookupError:
            return
        until = time.monotonic() + MERCY_SECONDS
        while not ended() and time.monotonic() < until:
            time.sleep(0.05)
