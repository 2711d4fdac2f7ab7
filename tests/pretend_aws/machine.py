"""One pretended machine: a network, mount and PID namespace of its own with sshd, whose power can be cut."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.pretend_aws.launch import ROOT, first_process
from tests.pretend_aws.layers import HOST, PRETEND, needed, run

HERE = Path(__file__).parent
REAL_SETUP = "PRETEND_AWS_CACHE"  # names uv's cache where machines are to be set up from it, and do not find all there


@dataclass(frozen=True)
class Facts:
    """What the cloud knows of a machine.

    Attributes:
        address: in the VPC.
        public: seen from outside the VPC; empty if it has none.
        key: the public key that may log in.
        user_data: what it runs at its first boot.
        image: what it was launched from.
        every_boot: whether it runs that at every boot.
    """

    id: str
    address: str
    public: str
    key: str
    user_data: str
    image: str
    every_boot: bool = False


def uv() -> str | None:
    """Where uv is, or None."""
    return shutil.which("uv") or next((str(path) for path in [ROOT / ".uv/bin/uv"] if path.exists()), None)


def variables(cloud: Mapping[str, str]) -> dict[str, str]:
    """What every process of a machine finds in its environment; infra/node/setup.sh says what its own are for.

    Args:
        cloud: what leads it to the pretended cloud.
    """
    common = {**cloud, "FIFTY_PRETENDED": "1", "FIFTY_PACE": os.environ.get("FIFTY_PACE", "1")}
    if os.environ.get(REAL_SETUP):
        # The index is uv's cache, and what is in there is linked, for the machine's disk is in memory.
        return {**common, "UV_OFFLINE": "1", "UV_CACHE_DIR": "/var/cache/uv", "UV_LINK_MODE": "symlink"}
    return {**common, "FIFTY_VENV": sys.prefix}


class Machine:
    """A machine that runs, or has run and may be started again: its disk stays until it is deleted.

    Args:
        facts: what the cloud knows of it.
        cloud: see `variables`.
        bridge: the network device that it hangs on.
        gateway: the address there that leads out.
        files: what else lies on its disk, by place.
    """

    def __init__(
        self, facts: Facts, cloud: Mapping[str, str], bridge: str, gateway: str, files: Mapping[str, bytes]
    ) -> None:
        self.facts, self.cloud, self.bridge, self.gateway = facts, cloud, bridge, gateway
        self.folder = PRETEND / "machines" / facts.id
        # A device's name has 15 letters at most.
        self.wire = f"v{hashlib.sha256(facts.id.encode()).hexdigest()[:12]}"
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False  # whether the cloud has it on; when it goes off by itself, that was a shutdown
        for name in ("upper", "work", "root", "disk", "files"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "user-data").write_text(facts.user_data)
        (self.folder / "key").write_text(facts.key)
        for place, content in files.items():
            file = self.folder / "files" / place.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    def start(self) -> None:
        """Switch it on: its first process waits for the wire, sets up files and network, then is sshd."""
        log = (self.folder / "boot.log").open("a")
        command = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts", "--ipc"]
        cache = os.environ.get(REAL_SETUP, "")
        env = {
            "PATH": os.environ["PATH"],
            "ID": self.facts.id,
            "IMAGE": self.facts.image,
            "ADDRESS": self.facts.address,
            "PUBLIC": self.facts.public,
            "GATEWAY": self.gateway,
            "LOWER": str(HOST),
            "STANDINS": str(HERE / "standins"),
            "PYTHON_FOLDERS": ":".join([sys.base_prefix] if cache else [sys.base_prefix, sys.prefix]),
            "CACHE": cache,
            "UV": uv() or "",
            "HIDDEN": ":".join(map(str, needed())),
            "CHECKOUT": str(ROOT),
            "CLOUD": " ".join(f"{k}={v}" for k, v in variables(self.cloud).items()),
            "EVERY_BOOT": "yes" if self.facts.every_boot else "",
        }
        self.wanted = True
        self.process = subprocess.Popen(
            [*command, "bash", str(HERE / "boot.sh"), str(self.folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True,
        )  # fmt: skip
        self._await_namespace()
        run("ip", "link", "add", self.wire, "type", "veth", "peer", "name", "eth0", "netns", str(self.process.pid))
        run("ip", "link", "set", self.wire, "master", self.bridge, "up")
        if self.facts.public:
            run("ip", "route", "replace", f"{self.facts.public}/32", "dev", self.bridge)

    def _await_namespace(self) -> None:
        """Wait until the process has left our network; else the wire's other end would be ours."""
        assert self.process
        until = time.monotonic() + 60
        while Path(f"/proc/{self.process.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            if time.monotonic() > until:
                raise TimeoutError(f"machine {self.facts.id} does not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Take its power away."""
        self.wanted = False
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            # It goes with its namespace, but not at once, and the next start lays it anew.
            subprocess.run(["ip", "link", "delete", self.wire], capture_output=True, check=False)

    @property
    def on(self) -> bool:
        """Whether its first process lives."""
        return self.process is not None and self.process.poll() is None

    def cut(self, *, apart: bool = True) -> None:
        """Pull its network cable, so that no socket is closed; or plug it in again."""
        run("ip", "link", "set", self.wire, "down" if apart else "up")

    def freeze(self) -> None:
        """Let it hang: nothing on it goes on, whatever it was about to do."""
        assert self.process
        space = Path(f"/proc/{first_process(self.process.pid)}/ns/pid").readlink()
        stopped: set[int] = set()
        while new := {pid for pid in _in_space(space) if pid not in stopped}:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= new

    def told(self) -> dict[str, object]:
        """Return what tests want to know of it."""
        first = first_process(self.process.pid) if self.on and self.process else 0
        return {**asdict(self.facts), "first": first}

    def save(self) -> None:
        """Write down what it was, for whoever looks at its logs."""
        (self.folder / "facts.json").write_text(json.dumps(asdict(self.facts)))


def _in_space(space: Path) -> Iterator[int]:
    """The processes of a PID namespace."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "ns/pid").readlink() == space:
                yield int(folder.name)
