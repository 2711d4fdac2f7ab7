"""How the steps of a sequence come into a network: tokens become vectors, numbers are projected."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lit_models.core.layers import Dropout, drop
from lit_models.parts.pooling import Pool
from lit_models.specs.sequence import PADDING, SeriesSpec, TokenSpec


class TokenDropout(nn.Module):
    """Make steps unknown in training: their vectors become zero (word dropout, Gal & Ghahramani 2016).

    They stay in their places, and nothing is scaled up: a token is no number of which a part could stand for the whole.

    Args:
        p: probability of each step; in a cohort it may be a tensor, a lane's scalar.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p: float | Tensor = p

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors (B, T, width) to the same shape."""
        if not self.training:
            return x
        shape = (*x.shape[:2], 1)
        kept = drop(x.new_ones(shape), self.p, shape) != 0
        if not isinstance(self.p, Tensor) and self.p == 0:
            return x
        return torch.where(kept, x, torch.zeros_like(x))


class Embedding(nn.Module):
    """A vector for each token, built with a deviation of 1 a number, whatever rule the weights begin by.

    Args:
        vocabulary: number of tokens.
        width: numbers of a vector.
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocabulary, width) * width**-0.5)

    @property
    def vectors(self) -> Tensor:
        """The vectors of all tokens (vocabulary, width); scaled as in Vaswani et al. 2017."""
        vectors: Tensor = self.weight * self.weight.shape[1] ** 0.5
        return vectors

    def forward(self, x: Tensor) -> Tensor:
        """Map ids (B, T) to vectors (B, T, width)."""
        return F.embedding(x, self.vectors)


class OneHot(nn.Module):
    """A number for each token but padding, of which one is 1.

    Args:
        vocabulary: number of tokens, padding among them.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.eye(vocabulary)[:, 1:].contiguous())
        self.vectors: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map ids (B, T) to vectors (B, T, vocabulary - 1)."""
        return F.embedding(x, self.vectors)


class Entry(nn.Module):
    """Maps what is prepared to vectors (B, T, width).

    Args:
        spec: of tokens or of a series.
        width: numbers of a vector; 0 takes one-hot tokens, or the series as it is.
        token_dropout: probability that a step is made unknown.

    Attributes:
        width: numbers of a vector.
    """

    def __init__(self, spec: TokenSpec | SeriesSpec, width: int, token_dropout: float = 0.0) -> None:
        super().__init__()
        self.padded = isinstance(spec, TokenSpec)
        if isinstance(spec, TokenSpec):
            self.vectors: nn.Module = Embedding(spec.vocabulary, width) if width else OneHot(spec.vocabulary)
            self.width = width or spec.vocabulary - 1
        else:
            # What follows adds a constant of its own, or takes it away (batch norm).
            self.vectors = nn.Linear(spec.features, width, bias=False) if width else nn.Identity()
            self.width = width or spec.features
        self.drop = TokenDropout(token_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ids (B, T), or numbers (B, T, F), to vectors (B, T, width)."""
        vectors: Tensor = self.drop(self.vectors(x))
        return vectors

    def mask(self, x: Tensor) -> Tensor | None:
        """Say where ids (B, T) are no padding: (B, T) bool; None for a series, which has no padding."""
        return x != PADDING if self.padded else None


class Reader(nn.Module):
    """A network for sequences: an entry, a body that reads, a pool that sums up, and a linear layer.

    Args:
        entry: maps inputs to vectors.
        body: maps vectors (B, T, entry's width) and a mask (B, T), or None, to vectors (B, T, width).
        pool: makes one vector of them.
        width: numbers that the body leaves for each step.
        outputs: numbers to be told.
        dropout: of the vector that the pool makes.
    """

    def __init__(self, entry: Entry, body: nn.Module, pool: Pool, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.entry, self.pool = entry, pool
        self.body: Any = body
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map ids (B, T), or numbers (B, T, F), to outputs (B, outputs)."""
        states, mask = self.read(x)
        outputs: Tensor = self.head(self.pool(states, mask))
        return outputs

    def read(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the body leaves of each step (B, T, width), and where there is no padding (B, T)."""
        mask = self.entry.mask(x)
        return self.body(self.entry(x), mask), mask
