"""A pretended cluster: a head and workers of Ray's on this machine, with a token, and with prices as labels.

Each worker has folders of its own, and as root a view of the disk in which the checkout is empty, as another machine
would have.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

SECONDS = 240


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


class PretendCluster:
    """See the module."""

    def __init__(self, base: Path, hidden: Path) -> None:
        self._base, self._hidden = base, hidden
        self.address = f"127.0.0.1:{free_port()}"
        token = base / "token"
        token.write_text(secrets.token_hex(32))
        self.admission = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self._raylets: list[psutil.Process] = []
        self._start(
            ["--head", f"--port={self.address.split(':')[1]}", "--include-dashboard=false", "--num-cpus=0"], 0.5
        )

    def add(self, price: float, gpus: int = 0) -> psutil.Process:
        """Start a worker of one core, and of GPUs that are none, and return its raylet."""
        hide = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{self._hidden}" && exec "$@"', "sh"]
        able = os.geteuid() == 0 and subprocess.run([*hide, "true"], capture_output=True, check=False).returncode == 0
        arguments = [f"--address={self.address}", "--num-cpus=1", f"--num-gpus={gpus}"]
        return self._start(arguments, price, hide if able else [])

    def _start(self, arguments: list[str], price: float, wrapped: list[str] | None = None) -> psutil.Process:
        folder = self._base / str(len(self._raylets))
        folder.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTEST_", "PYTHONPATH"))}
        own = {"TMPDIR": str(folder), "HOME": str(folder), "RAY_USAGE_STATS_ENABLED": "0", **self.admission}
        command = [str(Path(sys.executable).with_name("ray")), "start", *arguments, "--node-ip-address=127.0.0.1"]
        command += [f"--labels=fifty-price={price}", f"--temp-dir={folder}/ray", "--object-store-memory=100000000"]
        before = set(self.processes("raylet"))
        done = subprocess.run(
            [*(wrapped or []), *command], env=kept | own, cwd=folder, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (raylet,) = set(self.processes("raylet")) - before
        self._raylets.append(raylet)
        return raylet

    def processes(self, name: str = "") -> list[psutil.Process]:
        """What runs of the cluster; only what has a name, if one is given."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mine = process.environ().get("RAY_AUTH_TOKEN_PATH") == self.admission["RAY_AUTH_TOKEN_PATH"]
                if mine and (not name or process.name() == name) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def stop(self) -> None:
        """Kill everything."""
        until = time.monotonic() + SECONDS
        while (left := self.processes()) and time.monotonic() < until:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=1)


@contextlib.contextmanager
def pretended_cluster(hidden: Path) -> Iterator[PretendCluster]:
    """Yield a cluster that has a head alone; its workers do not see what is in `hidden`."""
    # Sockets lie in here, and a socket's path may have 107 characters at most.
    base = Path(tempfile.mkdtemp(prefix="fc-", dir="/tmp"))
    cluster = PretendCluster(base, hidden)
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(base, ignore_errors=True)
