"""What runs inside the namespaces: files, network, moto, the watcher and what a person or a test runs in front of them.

python -m tests.pretend_aws.world [--serve | command ...]      # started by launch.py alone
"""

import json
import os
import pty
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.pretend_aws.catalog import write_images
from tests.pretend_aws.launch import cloud_variables, environment
from tests.pretend_aws.layers import PRETEND, own_files, run

GATEWAY = "172.31.255.1"  # inside moto's default VPC, outside its subnets
BRIDGE = "pretend0"
ENDPOINT = f"http://{GATEWAY}:5000"
MOTO = "http://127.0.0.1:5001"  # in front of it stands the proxy, which the machines and the person see
READY = 60.0  # seconds that moto may take


def main(arguments: Sequence[str]) -> int:
    """Make the world, then run a shell, a command, or serve until stdin ends."""
    return inhabit(f"{GATEWAY}/16", lambda: play(arguments))


def inhabit(address: str, play: Callable[[], int]) -> int:
    """Make files and network, and have a cloud played in there; `address` is the person's, with the network's size."""
    signal.signal(signal.SIGINT, lambda *_: None)  # the command's own affair
    own_files()
    own_network(address)
    child = os.fork()
    return bury(child) if child else play()


def play(arguments: Sequence[str]) -> int:
    """Play AWS."""
    with moto():
        from tests.pretend_aws.books import AwsBooks
        from tests.pretend_aws.proxy import serve
        from tests.pretend_aws.watcher import Watcher

        watcher = Watcher(AwsBooks(MOTO), cloud_variables(ENDPOINT), BRIDGE, GATEWAY)
        watcher.start()
        server = serve(GATEWAY, 5000, MOTO, watcher)
        code = occupy(arguments, cloud_variables(ENDPOINT), ENDPOINT, "AWS")
        server.shutdown()
        watcher.stop()
    return code


def own_network(address: str) -> None:
    """A bridge that the machines hang on, with our own address and its network; there is no way out of it."""
    run("ip", "link", "set", "lo", "up")
    # An address of its own; else it has that of one of the machines, and another when that is gone, which others would
    # find out by and by.
    run("ip", "link", "add", BRIDGE, "address", "02:00:00:00:00:01", "type", "bridge")
    run("ip", "address", "add", address, "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    # So that what a machine sends to the world outside is refused at once, where it would be waited for otherwise.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def bury(child: int) -> int:
    """Wait, as the first process must, for whatever loses its parent; return the code of `child` when that ends."""
    while True:
        try:
            pid, status = os.wait()
        except InterruptedError:
            continue
        if pid == child:
            return os.waitstatus_to_exitcode(status)


@contextmanager
def moto() -> Iterator[None]:
    """Run moto's server."""
    log = (PRETEND / "log/moto.log").open("w")
    module = ["-W", "ignore", "-m", "tests.pretend_aws.moto_server"]
    command = [sys.executable, *module, "-H", "127.0.0.1", "-p", MOTO.rpartition(":")[2]]
    write_images(PRETEND / "images.json")
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env |= {"AWS_DEFAULT_REGION": "us-east-1", "MOTO_AMIS_PATH": str(PRETEND / "images.json")}
    # Ray, called by hand, gives its own role policies of Amazon's.
    env["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    server = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
    deadline = time.monotonic() + READY
    while not answers(MOTO):
        if server.poll() is not None or time.monotonic() > deadline:
            sys.exit("moto does not start:\n" + (PRETEND / "log/moto.log").read_text())
        time.sleep(0.1)
    try:
        yield
    finally:
        server.kill()
        server.wait()


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        urllib.request.urlopen(f"{url}/moto-api/", timeout=2).close()  # noqa: S310
    except OSError:
        return False
    return True


def occupy(arguments: Sequence[str], variables: dict[str, str], endpoint: str, cloud: str) -> int:
    """Run what was asked for, to its end.

    Args:
        arguments: `--serve`, a command, or none for a shell.
        variables: what leads a process to the pretended cloud.
        endpoint: that cloud's address.
        cloud: its name.
    """
    env = environment(variables, str(PRETEND / "home")) | {"TMPDIR": str(PRETEND / "tmp")}
    if arguments[:1] == ["--serve"]:
        print(json.dumps({"endpoint": endpoint, "home": env["HOME"], "variables": variables}), flush=True)
        sys.stdin.read()
        return 0
    if arguments:
        return subprocess.run(arguments, env=env, check=False).returncode
    print(f"{cloud} is pretended at {endpoint}; the machines' logs are in {PRETEND}/machines. `exit` ends everything.")
    os.environ.clear()
    os.environ.update(env)
    return os.waitstatus_to_exitcode(pty.spawn([os.environ.get("SHELL", "/bin/bash")]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
