"""One way to turn (seed, epoch, purpose) into the seed of a random generator."""

import numpy as np


def derive_seed(*keys: int) -> int:
    """Mix non-negative integers into one 63-bit seed.

    Neighbouring keys give unrelated seeds (NumPy's SeedSequence hashes them), so that epoch 2 of seed 1 and
    epoch 1 of seed 2 share nothing.
    """
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0]) >> 1
