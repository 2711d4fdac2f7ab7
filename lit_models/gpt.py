"""A decoder-only Transformer that models text (GPT: Radford et al. 2018, 2019)."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, model_validator
from torch import Tensor, nn

from lit_models.core.base import FamilyConfig, LitModel
from lit_models.core.config import InitName
from lit_models.core.layers import Dropout
from lit_models.parts.attention import Block, Positions, PositionsName, causal_mask, check_heads
from lit_models.specs.sequence import TextSpec


class GPTConfig(FamilyConfig):
    """Hyperparameters of the GPT."""

    init: InitName = Field("small_normal", description="how weights begin; `default` is torch's own")
    # Normalised, one number is always zero, and of two there is a sign left.
    width: int = Field(64, ge=4, le=65536, description="numbers that stand for a token")
    heads: int = Field(4, ge=1, le=1024, description="heads of each attention, which share the width")
    blocks: int = Field(2, ge=1, le=200, description="blocks of attention and perceptron, one after another")
    positions: PositionsName = Field("learned", description="what tells the order of tokens")
    tie_weights: bool = Field(True, description="score the next token by the same vectors that tokens are read by")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "GPTConfig":
        check_heads(self.width, self.heads)
        return self


class GPT(nn.Module):
    """Maps tokens (B, T) to logits (B, T, vocabulary) of what comes next, each from those up to it alone.

    Args:
        config: width, heads, blocks and the rest.
        vocabulary: number of tokens.
        length: the most tokens that it reads at a time.
    """

    def __init__(self, config: GPTConfig, vocabulary: int, length: int) -> None:
        super().__init__()
        width = config.width
        self.length = length
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = Positions(config.positions, length, width)
        self.drop = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(width, config.heads, config.dropout) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        # Tied, there is no second parameter but a second use of the first: weights are saved and stacked once.
        self.head = None if config.tie_weights else nn.Linear(width, vocabulary, bias=False)

    def embed(self, tokens: Tensor, start: int = 0) -> Tensor:
        """Map tokens (B, T), the first at the place `start`, to vectors (B, T, width).

        They are scaled up as in Vaswani et al. 2017: vectors that are small enough to score tokens by would drown
        in what tells their places.
        """
        vectors: Tensor = self.embedding(tokens) * self.embedding.embedding_dim**0.5
        placed: Tensor = self.drop(self.positions(vectors, start))
        return placed

    def logits(self, x: Tensor) -> Tensor:
        """Map what the last block gave (B, T, width) to logits (B, T, vocabulary)."""
        weight = self.embedding.weight if self.head is None else self.head.weight
        return F.linear(self.norm(x), weight)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T) to what the last block gives (B, T, width)."""
        x = self.embed(tokens)
        mask = causal_mask(tokens.shape[1], tokens.device)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T) int32 or int64, T at most `length`, to logits (B, T, vocabulary)."""
        return self.logits(self.hidden(tokens))

    def attention(self, tokens: Tensor) -> Tensor:
        """Return how much each token looks at each: (blocks, B, heads, T, T), rows sum to 1."""
        x = self.embed(tokens)
        mask = causal_mask(tokens.shape[1], tokens.device)
        found = []
        for module in self.blocks:
            block: Any = module
            found.append(block.attention.weights(block.before(x), mask=mask))
            x = block(x, mask)
        return torch.stack(found)


class LitGPT(LitModel):
    """GPT: reads text and tells the next token; normalised first, with exact GELU.

    What differs from the papers: keys have no bias, which would do nothing; what attention gathered is dropped, not
    its weights; embeddings are scaled up; weights begin by `init` alike in all layers.
    """

    Config: ClassVar[type[FamilyConfig]] = GPTConfig
    FORMS: ClassVar[tuple[str, ...]] = ("text",)
    config: GPTConfig
    spec: TextSpec
    network: GPT

    def build(self) -> nn.Module:
        """Build the network."""
        return GPT(self.config, self.spec.vocabulary, self.spec.length)

    def sample_losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each window (B,), the mean over its tokens, smoothed as in the base.

        Args:
            logits: (B, T, vocabulary).
            targets: the next tokens, (B, T).
        """
        losses = super().sample_losses(logits.flatten(0, 1), targets.flatten().long())
        return losses.view(targets.shape).mean(dim=1)

    def validation_sums(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (2,): the sum of the windows' mean losses, and of their shares of tokens that were told right."""
        logits, targets = self(x), y.long()
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        hits = (logits.argmax(dim=2) == targets).to(losses.dtype)
        return torch.stack([losses.sum(), hits.sum()]) / y.shape[1]
