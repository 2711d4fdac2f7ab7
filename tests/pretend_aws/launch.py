"""Start the pretended AWS in namespaces of its own, in which everything dies with the first process.

Nothing of it reaches the machine's network or files: it has its own network, and writes to a layer in memory.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TOOLS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "ip": "iproute2",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "rsync": "rsync",
}
AWS = "tests.pretend_aws.world"
ROOT = Path(__file__).resolve().parents[2]
# What a person's own clouds are told by.
OWN = ("AWS_", "GOOGLE_", "CLOUDSDK_")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_PR_SET_PDEATHSIG = 1
_MAXIMUM_LAYERS = "mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w /mnt/r && mount -t overlay o -o {} /mnt/r".format(
    "lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w"
)


def why_not() -> str:
    """Say in one sentence why it cannot run here; empty if it can."""
    if not sys.platform.startswith("linux"):
        return "the pretended AWS needs Linux"
    if os.geteuid() != 0:
        return "the pretended AWS needs root, for namespaces and mounts"
    missing = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool, path=_PATH)})
    if missing:
        return f"the pretended AWS needs {', '.join(missing)}: apt-get install {' '.join(missing)}"
    trial = subprocess.run(["unshare", *_NAMESPACES, "sh", "-c", _MAXIMUM_LAYERS], capture_output=True, check=False)
    if trial.returncode:
        return f"the pretended AWS needs namespaces and overlayfs: {trial.stderr.decode().strip()}"
    return ""


def start(arguments: Sequence[str], world: str = AWS, **popen: Any) -> "subprocess.Popen[str]":
    """Start a world in new namespaces; killed in whatever way, it takes everything in them along.

    Args:
        arguments: of the world.
        world: its module.
        popen: further arguments of `subprocess.Popen`.
    """
    # Else the interpreter would look for the modules in the folder that happens to be the working one.
    env = {**(popen.pop("env", None) or os.environ), "PYTHONPATH": str(ROOT), "PATH": _PATH}
    command = ["unshare", *_NAMESPACES, sys.executable, "-m", world, *arguments]
    return subprocess.Popen(command, preexec_fn=_dies_with_parent, env=env, text=True, **popen)


def first_process(parent: int, patience: float = 10.0) -> int:
    """Return the id of the process that `unshare` or `nsenter` has started in there, as it is seen from outside.

    Raises:
        ProcessLookupError: there is none.
    """
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except OSError:
            break
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise ProcessLookupError(f"process {parent} has no child")


def enter(first: int, command: Sequence[str]) -> list[str]:
    """Return the command that runs another in there."""
    return ["nsenter", "--target", str(first), "--mount", "--net", "--pid", "--", *command]


def environment(cloud: Mapping[str, str], home: str, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what a process needs to take the pretended cloud for the real one, and nothing of the person's own.

    Args:
        cloud: what leads it to the pretended one.
        home: the person's folder.
        base: the environment outside.
    """
    kept = {k: v for k, v in base.items() if not k.startswith(OWN) and not k.lower().endswith("_proxy")}
    return {**kept, **cloud, "HOME": home, "PATH": f"{Path(sys.executable).parent}:{_PATH}"}


def cloud_variables(endpoint: str) -> dict[str, str]:
    """Return the variables that lead boto3 there; they stand in for an instance's role, too."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "pretended",
        "AWS_SECRET_ACCESS_KEY": "pretended",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PRETEND_AWS": "1",
    }


def hang_up_on(process: "subprocess.Popen[str]") -> Callable[..., None]:
    """Return a signal handler that ends everything in there."""
    return lambda *_: process.kill()


def _dies_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
