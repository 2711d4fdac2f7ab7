"""Attention, the block that is built on it, and what tells it the order of its steps (Vaswani et al. 2017)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from lit_models.core.layers import Dropout

PositionsName = Literal["sinusoidal", "learned", "none"]
KeysValues = tuple[Tensor, Tensor]


def check_heads(width: int, heads: int) -> None:
    """Refuse a width that heads cannot share.

    Raises:
        ValueError: the width is no multiple of the heads.
    """
    if width % heads:
        raise ValueError(f"width must be a multiple of heads, and {width} is none of {heads}")


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., Attention is all you need, 2017).

    Written as matrix products and a softmax, which `torch.vmap` takes. Keys have no bias: it would add the same
    to all scores of a row, which the softmax takes away again. What is dropped in training is the output, as in
    the paper; torch's module drops weights instead.

    Args:
        width: numbers a step, in and out.
        heads: they share the width among them.
        dropout: probability that a number of the output is dropped in training.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads cannot share a width of {width}: it must be a multiple of them")
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.drop = Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Let each step of `x` gather from the steps of `memory`.

        Args:
            x: (B, T, width), who asks.
            memory: (B, S, width), who answers; `x` itself by default.
            mask: bool, broadcastable to (B, heads, T, S), true where a step may look. A step that may look nowhere
                gets the mean of all.

        Returns:
            (B, T, width).
        """
        return self.attend(x, *self.keys_values(x if memory is None else memory), mask)

    def weights(self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return how much each step looks at each: (B, heads, T, S), rows sum to 1. Arguments as for `forward`."""
        return self._weights(x, self._split(self.key(x if memory is None else memory)), mask)

    def keys_values(self, memory: Tensor) -> KeysValues:
        """Return keys and values (B, heads, S, width / heads) of a memory (B, S, width): what a cache keeps."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def attend(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Gather by given keys and values (B, heads, S, width / heads) for each step of `x` (B, T, width)."""
        mixed: Tensor = self.out((self._weights(x, keys, mask) @ values).transpose(1, 2).flatten(2))
        dropped: Tensor = self.drop(mixed)
        return dropped

    def _weights(self, x: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        scores = self._split(self.query(x)) * keys.shape[-1] ** -0.5 @ keys.transpose(-2, -1)
        if mask is not None:
            # The least number, not minus infinity: a row without any true entry must not become NaN.
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights: Tensor = scores.softmax(dim=-1)
        return weights

    def _split(self, x: Tensor) -> Tensor:
        """Share (B, T, width) among the heads: (B, heads, T, width / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """A block of a Transformer: attention, attention to a memory if wanted, and a perceptron, each added to its input.

    Normalised first (Xiong et al., On layer normalization in the Transformer architecture, 2020), so that it trains
    without warm-up; whoever stacks blocks normalises after the last.

    Args:
        width: numbers a step.
        heads: of each attention.
        dropout: probability that a number is dropped from what is added.
        expansion: units of the perceptron's hidden layer, as a multiple of the width.
        cross: whether there is a memory to look at.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, expansion: int = 4, cross: bool = False) -> None:
        super().__init__()
        self.before, self.attention = nn.LayerNorm(width), Attention(width, heads, dropout)
        self.between = nn.LayerNorm(width) if cross else None
        self.cross = Attention(width, heads, dropout) if cross else None
        self.last = nn.LayerNorm(width)
        hidden = expansion * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width), Dropout(dropout))

    def forward(
        self, x: Tensor, mask: Tensor | None = None, memory: Tensor | None = None, memory_mask: Tensor | None = None
    ) -> Tensor:
        """Map (B, T, width) to the same shape.

        Args:
            x: (B, T, width).
            mask: bool, broadcastable to (B, heads, T, T), true where a step may look.
            memory: (B, S, width), for a block with `cross`.
            memory_mask: bool, broadcastable to (B, heads, T, S).
        """
        x = x + self.attention(self.before(x), mask=mask)
        known = None if self.cross is None or memory is None else self.cross.keys_values(memory)
        return self._finish(x, known, memory_mask)

    def step(
        self, x: Tensor, past: KeysValues | None, known: KeysValues | None = None, memory_mask: Tensor | None = None
    ) -> tuple[Tensor, KeysValues]:
        """Go on from steps whose keys and values are kept: what `forward` with a causal mask gives for the new ones.

        Args:
            x: (B, T, width), the new steps.
            past: keys and values (B, heads, P, width / heads) of the steps before, None if there are none.
            known: `cross.keys_values` of the memory, for a block with `cross`.
            memory_mask: bool, broadcastable to (B, heads, T, S).

        Returns:
            (B, T, width), and the keys and values of all P + T steps.
        """
        own = self.before(x)
        keys, values = self.attention.keys_values(own)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        # The last step may see everything, so a single one needs no mask.
        mask = causal_mask(keys.shape[2], x.device)[..., -x.shape[1] :, :] if x.shape[1] > 1 else None
        return self._finish(x + self.attention.attend(own, keys, values, mask), known, memory_mask), (keys, values)

    def _finish(self, x: Tensor, known: KeysValues | None, memory_mask: Tensor | None) -> Tensor:
        """Do what comes after the attention of (B, T, width) to itself."""
        if self.cross is not None and self.between is not None and known is not None:
            x = x + self.cross.attend(self.between(x), *known, memory_mask)
        y: Tensor = x + self.mlp(self.last(x))
        return y


class Positions(nn.Module):
    """Adds to each step what tells its place, without which attention does not know the order of steps.

    Args:
        kind: `sinusoidal` is a table of sines and cosines of falling frequencies (Vaswani et al. 2017), `learned` a
            table of weights, `none` adds nothing.
        length: the most steps.
        width: numbers a step.
    """

    def __init__(self, kind: PositionsName, length: int, width: int) -> None:
        super().__init__()
        self.table: Tensor | None
        if kind == "learned":
            self.table = nn.Parameter(torch.randn(length, width) * 0.02)
        else:
            self.register_buffer("table", sinusoids(length, width) if kind == "sinusoidal" else None)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """Map (B, T, width) to the same shape; the first step has the place `start`.

        Raises:
            ValueError: there are more steps than places.
        """
        if self.table is None:
            return x
        length, most = x.shape[1], self.table.shape[0]
        if start + length > most:
            raise ValueError(f"{start + length} steps are more than the {most} that positions were made for")
        return x + self.table[start : start + length]


def sinusoids(length: int, width: int) -> Tensor:
    """Return the table of Vaswani et al. 2017 (length, width): wavelengths from 2 pi to 10,000 times 2 pi."""
    place = torch.arange(length).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    angle = place * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]


def padding_mask(tokens: Tensor) -> Tensor:
    """Say where tokens (B, T) are no padding, which is 0: (B, 1, 1, T) bool, a mask for attention."""
    return (tokens != 0)[:, None, None, :]


def causal_mask(length: int, device: torch.device | str | None = None) -> Tensor:
    """Let each step look at itself and those before: (1, 1, length, length) bool."""
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()
