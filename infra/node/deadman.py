"""The dead-man's switch: looks once whether the deadline has been reached, and then ends the machine.

    python3 -m infra.node.deadman [--now SECONDS]

Called by deadman.sh every half minute. Exit code 0 says that it has decided; after anything else the shell decides.
"""

from __future__ import annotations  # for Python 3.9

import argparse
import sys

from infra.node import deadline, rules
from infra.node import facts as here
from infra.node.off import power_off


def main() -> int:
    """Ask for the deadline, and compare."""
    parser = argparse.ArgumentParser(prog="deadman")
    parser.add_argument("--now", type=float, help="seconds since 1970, for tests")
    told = parser.parse_args().now
    facts = here.load()
    deadline.refresh(facts)
    now = here.clock() if told is None else here.moment(told)
    until, known = deadline.in_force(facts, now)
    if rules.is_over(now, until):
        power_off(facts, f"the deadline {until:%Y-%m-%d %H:%M:%S} UTC has been reached" + ("" if known else " (own)"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
