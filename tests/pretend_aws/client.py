"""How a test drives a pretended AWS: it runs commands in front of it, gives it orders, and asks it by boto3."""

import contextlib
import ctypes
import json
import os
import subprocess
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from tests.pretend_aws.launch import AWS, enter, environment, first_process, start
from tests.pretend_aws.machine import REAL_SETUP

_CLONE_NEWNET = 0x40000000


class Pretended:
    """A pretended cloud that runs until `close`; the calling thread is in its network as long.

    Args:
        world: its module.
        log: file for what it has to say.
        pace: 1, or less for nodes that wait less long for what takes minutes.
        cache: uv's, for machines that are set up from uv.lock; else they find the environment of the tests.
    """

    def __init__(self, world: str, log: Path, pace: float = 1.0, cache: str = "") -> None:
        self._log = log.open("w")
        env = {**os.environ, "FIFTY_PACE": str(pace), REAL_SETUP: cache}
        pipe = subprocess.PIPE
        self._process = start(["--serve"], world, stdin=pipe, stdout=pipe, stderr=self._log, env=env)
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the pretended cloud does not start: {log.read_text()}")
        told = json.loads(line)
        self.endpoint, self.home, self._variables = told["endpoint"], told["home"], told["variables"]
        self._first = first_process(self._process.pid)
        self._outside = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        _join(Path(f"/proc/{self._first}/ns/net"))

    @property
    def root(self) -> Path:
        """The person's file system in there, seen from here."""
        return Path(f"/proc/{self._first}/root")

    def close(self) -> None:
        """End it, with everything in it."""
        _join(Path(f"/proc/self/fd/{self._outside}"))
        os.close(self._outside)
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def popen(self, command: Sequence[str], cwd: str, env: Mapping[str, str], **more: Any) -> "subprocess.Popen[str]":
        """Start a command of the person's."""
        merged = {**environment(self._variables, self.home), "TMPDIR": "/pretend/tmp", **env}
        inside = ["env", "--chdir", cwd, *(f"{k}={v}" for k, v in merged.items()), *command]
        return subprocess.Popen(enter(self._first, inside), text=True, **more)

    def send(self, process: "subprocess.Popen[str]", number: int) -> None:
        """Send a signal to a command of `popen`: to itself, not to what took it in there."""
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first_process(process.pid), number)

    def order(self, what: str, body: object = None) -> Any:
        """Give an order to what plays the cloud; AWS's are in proxy.py."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.endpoint}/pretend/{what}", data, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def machines(self) -> dict[str, dict[str, Any]]:
        """The machines that are on, by their ids."""
        return {machine["id"]: machine for machine in self.order("machines")}

    def on_machine(self, machine: str, command: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run a command on a machine, as root."""
        first = str(self.machines()[machine]["first"])
        inside = ["nsenter", "--target", first, "--all", "--", "bash", "-c", command]
        return subprocess.run(
            enter(self._first, inside), capture_output=True, text=True, timeout=timeout, check=False
        )  # fmt: skip


class PretendAws(Pretended):
    """A pretended AWS; arguments as those of `Pretended`."""

    def __init__(self, log: Path, pace: float = 1.0, cache: str = "") -> None:
        super().__init__(AWS, log, pace, cache)

    def client(self, service: str, region: str = "us-east-1") -> Any:
        """A boto3 client of it."""
        session = boto3.Session("pretended", "pretended", region_name=region)
        return session.client(service, endpoint_url=self.endpoint)

    def reset(self) -> None:
        """Throw everything away: machines, groups, keys, buckets, faults."""
        self.order("faults", [])
        self.order("hide", {"seconds": 0})
        with urllib.request.urlopen(f"{self.endpoint}/moto-api/reset", b"", timeout=60) as answer:  # noqa: S310
            answer.read()


def _join(namespace: Path) -> None:
    with namespace.open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
