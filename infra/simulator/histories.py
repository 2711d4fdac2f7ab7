"""The lifecycle simulator: thousands of random histories of a pretended cloud, and what must be true in every one.

    python -m infra.simulator.histories --histories 1000

The budget, the ledger and the rules of the nodes are the real ones; prices, machines, interruptions, outages, wrong
clocks, deaths and people are pretended (`simulate_*.py`). Whatever happens, the spend never passes the budget, nor what
the ledger says is bound for a run; nothing lives past its deadline by more than `rules.GRACE`; and no worker outlives
its head by more than its rules say. Taken for granted is that on each machine one of the two timers works: a kernel
that hangs, or a clock that is wrong by more than `rules.SKEW`, is beyond what a node can do for itself.
"""

import argparse
import sys
import time
from random import Random

from infra.node import rules
from infra.simulator.play import Broken, Verdict, play
from infra.simulator.world import drawn


def main(arguments: list[str] | None = None) -> int:
    """Play random histories and say how it went."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.simulator.histories", description="Play random histories of a cloud."
    )
    parser.add_argument("--histories", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the histories (default: 0)")
    chosen = parser.parse_args(arguments)
    random, begun = Random(chosen.seed), time.process_time()
    verdicts: list[Verdict] = []
    for number in range(chosen.histories):
        history = drawn(random)
        try:
            verdicts.append(play(history))
        except Broken as broken:
            print(f"history {number}: {broken}\n{history}")
            return 1
    seconds = time.process_time() - begun
    print(
        f"{len(verdicts)} histories, {sum(v.machines for v in verdicts)} machines, "
        f"${sum(v.dollars for v in verdicts):.2f}: every budget kept; the last machine was gone "
        f"{max((v.latest for v in verdicts), default=0):.0f} s after its deadline (allowed: {rules.GRACE.seconds} s); "
        f"{60 * len(verdicts) / seconds:.0f} histories a minute"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
