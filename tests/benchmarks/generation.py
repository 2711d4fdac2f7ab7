"""Writing with keys and values kept, and without: `python -m tests.benchmarks.generation`.

One text of 256 tokens from its first token on, drawn at temperature 1, in a context of 256, so that nothing slides; on
one thread of the CPU. Without, all tokens are read anew for each, but scores are computed for the last alone. Rounds
alternate; what counts is the median of the rounds' ratios.
"""

import argparse
import statistics
import time

import torch

from lit_models.gpt import GPT, GPTConfig, LitGPT
from lit_models.parts.generation import Sampling, generate
from lit_models.specs.sequence import TextSpec

TOKENS, TARGET = 256, 5.0
# Width, heads, blocks, vocabulary.
SIZES = ((64, 4, 2, 1024), (128, 4, 4, 1024), (256, 8, 6, 1024))


def seconds(network: GPT, seed: int, cached: bool) -> float:
    """Return how long it takes to write a text."""
    began = time.perf_counter()
    generate(network, torch.zeros(1, 1, dtype=torch.int64), TOKENS, Sampling(seed=seed), cached)
    return time.perf_counter() - began


def measure(network: GPT, rounds: int) -> tuple[float, float, float]:
    """Return median tokens per second (without, with a cache) and the median ratio, after a round to warm up."""
    pairs = [(seconds(network, seed, False), seconds(network, seed, True)) for seed in range(rounds + 1)][1:]
    without, cached = (TOKENS / statistics.median(column) for column in zip(*pairs, strict=True))
    return without, cached, statistics.median(slow / fast for slow, fast in pairs)


def main() -> None:
    """Print the table.

    Raises:
        SystemExit: the target is missed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'width':>6}{'blocks':>8}{'without/s':>12}{'kept/s':>12}{'ratio':>8}")
    least = float("inf")
    for width, heads, blocks, vocabulary in SIZES:
        network = LitGPT(GPTConfig(width=width, heads=heads, blocks=blocks), TextSpec(vocabulary, TOKENS, 1.0)).network
        without, cached, ratio = measure(network.eval(), arguments.rounds)
        least = min(least, ratio)
        print(f"{width:>6}{blocks:>8}{without:>12,.0f}{cached:>12,.0f}{ratio:>8.1f}", flush=True)
    if least < TARGET:
        raise SystemExit(f"the cache makes writing {least:.1f} times faster; it should be {TARGET:.0f} times")


if __name__ == "__main__":
    main()
