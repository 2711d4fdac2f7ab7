"""What runs inside the namespaces: as tests/pretend_aws/world.py, with the double of Google Cloud in place of moto.

python -m tests.pretend_gcp.world [--serve | command ...]      # started by launch.py alone
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.pretend_aws.layers import PRETEND
from tests.pretend_aws.world import BRIDGE, inhabit, occupy

GATEWAY = "10.128.255.1"  # the double gives machines addresses below
PORT = 5000
CERTIFICATE = Path("/etc/double.pem")  # on the machines
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}


def main(arguments: Sequence[str]) -> int:
    """Make the world, then run a shell, a command, or serve until stdin ends."""
    return inhabit(f"{GATEWAY}/16", lambda: play(arguments))


def play(arguments: Sequence[str]) -> int:
    """Play Google Cloud."""
    from tests.infra.gcp.double import Double
    from tests.pretend_aws.watcher import Watcher
    from tests.pretend_gcp.books import GcpBooks
    from tests.pretend_gcp.orders import Orders

    with Double(address=(GATEWAY, PORT)) as double:
        folder = PRETEND / "google"
        folder.mkdir()
        books = GcpBooks(double)
        inside = {**double.way(CERTIFICATE), **double.inside(), **QUIET}
        watcher = Watcher(books, inside, BRIDGE, GATEWAY, {str(CERTIFICATE): double.authority.certificate})
        double.asks, double.order = books.at, Orders(double, watcher)
        watcher.start()
        code = occupy(arguments, {**double.environment(folder), **QUIET}, f"http://{GATEWAY}:{PORT}", "Google Cloud")
        watcher.stop()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
