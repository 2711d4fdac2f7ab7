"""How a GPT writes: token by token, with what its attention needs of the earlier ones kept."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from lit_models.gpt import GPT
from lit_models.parts.attention import causal_mask


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the model's distribution.

    Attributes:
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k: only so many of the likeliest tokens are drawn from (Fan, Lewis & Dauphin 2018); 0 is all.
        top_p: only the fewest likeliest tokens are drawn from that together have at least this probability (nucleus
            sampling, Holtzman et al. 2020); 1 is all.
        seed: of the draws.

    Raises:
        ValueError: an attribute is out of its range; says which.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be finite and at least 0, not {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return what is drawn from, (B, vocabulary) float64, given logits (B, vocabulary)."""
        if self.temperature == 0:
            return torch.zeros_like(logits, dtype=torch.float64).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
        exact = logits.double()
        if self.temperature != 1:
            # The largest is taken away first: a small temperature must not make infinities.
            exact = (exact - exact.amax(dim=1, keepdim=True)) / self.temperature
        shares = exact.softmax(dim=1)
        if not self.top_k and self.top_p == 1:
            return shares
        shares, tokens = shares.sort(dim=1, descending=True, stable=True)
        if self.top_k:
            shares[:, self.top_k :] = 0
        shares /= shares.sum(dim=1, keepdim=True)
        # A token stays if those before it have not reached top_p yet; so the first always does.
        shares[shares.cumsum(dim=1) - shares >= self.top_p] = 0
        return torch.zeros_like(shares).scatter_(1, tokens, shares / shares.sum(dim=1, keepdim=True))

    def draw(self, logits: Tensor, rng: np.random.Generator) -> Tensor:
        """Draw a token for each row of logits (B, vocabulary): (B,) int64."""
        if self.temperature == 0:
            return logits.argmax(dim=1)
        reached = self.probabilities(logits).cumsum(dim=1)
        # Never quite the last sum, which rounding may leave a little below or above 1.
        at = torch.from_numpy(rng.random(len(logits))).to(reached).unsqueeze(1) * reached[:, -1:]
        return torch.searchsorted(reached, at, right=True).squeeze(1)


class _Step:
    """A block's arithmetic with as few calls as it takes: for a single token the calls are what takes the time.

    Query, key and value are one product, and what scales the query is in its weights.
    """

    def __init__(self, block: Any) -> None:
        attention = block.attention
        query, key, value = attention.query, attention.key, attention.value
        scale = (query.out_features // attention.heads) ** -0.5
        self.heads = attention.heads
        self.before, self.last = block.before, block.last
        self.weight = torch.cat([query.weight * scale, key.weight, value.weight])
        self.bias = torch.cat([query.bias * scale, torch.zeros_like(query.bias), value.bias])
        self.out, self.wide, self.narrow = attention.out, block.mlp[0], block.mlp[2]

    def __call__(self, x: Tensor, memory: Tensor, start: int, mask: Tensor | None) -> Tensor:
        """Map tokens (B, T, width) to the same; keys and values go into `memory`, (2, B, heads, length, ...)."""
        rows, count, _ = x.shape
        own = F.linear(_normed(x, self.before), self.weight, self.bias)
        own = own.view(rows, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        memory.narrow(3, start, count).copy_(own.narrow(0, 1, 2))
        keys, values = memory.narrow(3, 0, start + count).unbind()
        mixed = F.scaled_dot_product_attention(own[0], keys, values, mask, scale=1.0)
        # Of a single token the heads' parts lie side by side already.
        mixed = mixed.view(x.shape) if count == 1 else mixed.transpose(1, 2).reshape(x.shape)
        x = x + F.linear(mixed, self.out.weight, self.out.bias)
        hidden = F.gelu(F.linear(_normed(x, self.last), self.wide.weight, self.wide.bias))
        return x + F.linear(hidden, self.narrow.weight, self.narrow.bias)


def _normed(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return torch.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


class Cache:
    """Keys and values of the tokens that a GPT has read, so that each is read once.

    Args:
        network: the GPT, whose weights do not change any more.
        rows: texts that it reads side by side.
    """

    def __init__(self, network: GPT, rows: int) -> None:
        self.network = network
        self.steps = [_Step(block) for block in network.blocks]
        weight, heads = network.embedding.weight, self.steps[0].heads
        width = weight.shape[1]
        # What `GPT.embed` adds up, with one lookup for all tokens: vectors are scaled here, and places looked up.
        self.vectors, self.places = weight * width**0.5, network.positions(weight.new_zeros(1, network.length, width))
        self.scores = weight if network.head is None else network.head.weight
        self.memory = [weight.new_zeros(2, rows, heads, network.length, width // heads) for _ in self.steps]
        self.used = 0

    def read(self, tokens: Tensor) -> Tensor:
        """Read the next tokens (B, T) and return the logits (B, vocabulary) of the one after the last.

        Raises:
            ValueError: there is no room for so many.
        """
        start, end = self.used, self.used + tokens.shape[1]
        if end > self.network.length:
            raise ValueError(f"{end} tokens do not fit into a context of {self.network.length}")
        # A single token may see everything.
        mask = causal_mask(end, tokens.device)[..., start:, :] if tokens.shape[1] > 1 else None
        x = F.embedding(tokens, self.vectors) + self.places.narrow(1, start, end - start)
        for step, memory in zip(self.steps, self.memory, strict=True):
            x = step(x, memory, start, mask)
        self.used = end
        return F.linear(_normed(x[:, -1], self.network.norm), self.scores)


def generate(network: GPT, prompt: Tensor, count: int, sampling: Sampling, cached: bool = True) -> Tensor:
    """Write on from a prompt.

    When the context is full the older half of it is forgotten, so that the rest is read anew once in half a context and
    not at every token; places count from the oldest token that is left.

    Args:
        network: in evaluation mode.
        prompt: tokens (B, T), T at least 1; of a longer one than the context, the end is read.
        count: tokens to write.
        sampling: how each is drawn.
        cached: whether keys and values are kept; what is written is the same, if slower, without.

    Returns:
        (B, T + count) int64: the prompt and what follows.

    Raises:
        ValueError: the prompt is empty.
    """
    rows, given = prompt.shape
    if given == 0:
        raise ValueError("the prompt is empty: give at least one token")
    written = torch.cat([prompt.long(), prompt.new_zeros((rows, count), dtype=torch.int64)], dim=1)
    rng = np.random.default_rng(sampling.seed)
    start = max(0, given - network.length)
    with torch.inference_mode():
        read = _cached(network, rows) if cached else _uncached(network)
        for end in range(given, given + count):
            if end - start > network.length:
                start = end - max(1, network.length // 2)
            written[:, end] = sampling.draw(read(written, start, end), rng)
    return written


Reader = Callable[[Tensor, int, int], Tensor]
"""Maps all tokens (B, N) and the bounds of the context in them to the logits (B, vocabulary) of the next."""


def _uncached(network: GPT) -> Reader:
    def read(tokens: Tensor, start: int, end: int) -> Tensor:
        return network.logits(network.hidden(tokens[:, start:end])[:, -1])

    return read


def _cached(network: GPT, rows: int) -> Reader:
    cache = Cache(network, rows)
    begun = 0

    def read(tokens: Tensor, start: int, end: int) -> Tensor:
        nonlocal begun
        if start != begun:
            begun, cache.used = start, 0
        return cache.read(tokens[:, start + cache.used : end])

    return read
