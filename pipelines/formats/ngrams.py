"""What a next token costs models that count: the naive baseline of models of text, and one that is not so naive."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


def unigram(y: Ids, vocabulary: int) -> Floats:
    """The probability (vocabulary,) of each token, from tokens y (N,); as if each had come once more."""
    counts = np.bincount(y, minlength=vocabulary).astype(np.float64) + 1
    probabilities: Floats = counts / counts.sum()
    return probabilities


def unigram_bits(probabilities: Floats, y: Ids) -> float:
    """Bits that tokens y (N,) cost in all, whatever comes before them."""
    return float(-np.log2(probabilities[y]).sum())


def bigram_bits(train: tuple[Ids, Ids], probabilities: Floats, x: Ids, y: Ids) -> float:
    """Bits that tokens y (M,) cost in all, told from the token x (M,) before each.

    A token is told by what followed x in training, or by its own probability: the more tokens are known to follow x,
    the likelier that it is a new one (interpolation of Witten & Bell, The zero-frequency problem, 1991).

    Args:
        train: tokens (N,), and those that follow them (N,).
        probabilities: of each token, by `unigram`.
        x: tokens before.
        y: tokens to be told.
    """
    vocabulary = len(probabilities)
    pairs, counts = np.unique(train[0] * vocabulary + train[1], return_counts=True)
    times = np.bincount(train[0], minlength=vocabulary)[x]
    followers = np.bincount(pairs // vocabulary, minlength=vocabulary)[x]
    wanted = x * vocabulary + y
    places = np.searchsorted(pairs, wanted).clip(max=len(pairs) - 1)
    both = np.where(pairs[places] == wanted, counts[places], 0)
    own = probabilities[y]
    told = np.where(times > 0, (both + followers * own) / np.maximum(times + followers, 1), own)
    return float(-np.log2(told).sum())
