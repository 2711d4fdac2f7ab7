"""Random numbers that are a pure function of a key and a position, so that lanes cannot disturb each other.

A generator with a state gives a lane numbers that depend on who drew before it. A counter-based one (Salmon et al.,
Parallel random numbers: as easy as 1, 2, 3, 2011) hashes (key, position) instead: the numbers of a lane are the same
alone and among sixty-four, on a CPU and on a GPU, and after a resume there is no state to restore. One key serves
one step of training; positions count what the step has drawn. The hash is the finalizer of MurmurHash3 (Appleby
2011), twice over: good enough for masks and jitter, and for nothing that must be unpredictable.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from lit_models.core.seeds import derive_seed

WORD = 0xFFFFFFFF


def _signed(word: int) -> int:
    """The same 32 bits as an int32 holds them."""
    return word - (1 << 32) if word >> 31 else word


FIRST, SECOND = 0x85EBCA6B, 0xC2B2AE35
_FIRST, _SECOND = _signed(FIRST), _signed(SECOND)


def mix(word: int) -> int:
    """Hash 32 bits to 32 bits, one to one; returns an unsigned number."""
    word = ((word ^ (word >> 16)) * FIRST) & WORD
    word = ((word ^ (word >> 13)) * SECOND) & WORD
    return word ^ (word >> 16)


def _mix(words: Tensor) -> Tensor:
    """The same hash of int32 of any shape; shifts of signed numbers drag the sign along, which the masks undo."""
    words = words ^ (words >> 16).bitwise_and_(0xFFFF)
    words.mul_(_FIRST)
    words.bitwise_xor_((words >> 13).bitwise_and_(0x7FFFF)).mul_(_SECOND)
    return words.bitwise_xor_((words >> 16).bitwise_and_(0xFFFF))


@lru_cache(maxsize=64)
def _positions(start: int, count: int, device: torch.device) -> Tensor:
    """The hashed positions start .. start + count (count,) int32: the same for every lane and step."""
    return _mix(torch.arange(start, start + count, dtype=torch.int32, device=device))


class Noise:
    """What one step of one lane draws; or of all lanes, where `key` is a lane's scalar under `torch.vmap`.

    Args:
        key: 32 bits, as an int or as an int32 tensor ().
    """

    def __init__(self, key: int | Tensor) -> None:
        self._key = _signed(key) if isinstance(key, int) else key
        self._drawn = 0

    def words(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """Draw int32 of that shape, uniform over all 2^32 values."""
        count = prod(shape)
        positions = _positions(self._drawn, count, device)
        self._drawn += count
        return _mix(positions ^ self._key).view(tuple(shape))

    def skip(self, count: int) -> None:
        """Pass over numbers that another lane of the same cohort may need where this one does not."""
        self._drawn += count

    def uniform(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Draw floats of that shape, uniform in [0, 1), multiples of 2^-24, of `like`'s type and device."""
        return ((self.words(shape, like.device) >> 8) & 0xFFFFFF).to(like.dtype) * 2.0**-24

    def keep(self, shape: Sequence[int], drop: float | Tensor, device: torch.device) -> Tensor:
        """Draw booleans of that shape, false with the probability `drop` in [0, 1), which may be a lane's scalar."""
        if isinstance(drop, Tensor):
            threshold = (drop.double() * 2.0**32 - 2.0**31).to(torch.int32)
            return self.words(shape, device) >= threshold
        return self.words(shape, device) >= int(drop * 2.0**32 - 2.0**31)


_active: list[Noise] = []


@contextmanager
def drawing(noise: Noise) -> Iterator[Noise]:
    """Let the layers of a network draw from `noise` while the block works."""
    _active.append(noise)
    try:
        yield noise
    finally:
        _active.pop()


def active() -> Noise | None:
    """The noise that layers draw from just now, if any."""
    return _active[-1] if _active else None


class EpochNoise:
    """The seeds of one lane's epoch: a key for each step, and NumPy's generator for what is drawn outside the network.

    Args:
        seed: the lane's.
        epoch: 0-based.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        self.key = derive_seed(seed, epoch, 1) & WORD
        self.step = 0
        self._seed = (seed, epoch, 3)

    @cached_property
    def rng(self) -> np.random.Generator:
        """NumPy's generator of this epoch; built when it is first asked for, for most lanes never do."""
        return np.random.default_rng(derive_seed(*self._seed))

    def next(self) -> int:
        """Return the key of the next step."""
        self.step += 1
        return mix(self.key ^ mix(self.step))


def step_keys(noises: Sequence[EpochNoise], steps: int) -> Tensor:
    """Return (steps, K) int32: what `next` would return to each of K lanes at each step of an epoch not yet begun."""
    lanes = torch.tensor([_signed(noise.key) for noise in noises], dtype=torch.int32)
    numbers = torch.arange(1, steps + 1, dtype=torch.int32)
    return _mix(lanes ^ _mix(numbers).unsqueeze(1))
