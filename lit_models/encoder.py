"""The Transformer's encoder as a classifier (Vaswani et al., Attention is all you need, 2017)."""

from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from lit_models.core.config import FamilyConfig, InitName
from lit_models.core.layers import Dropout
from lit_models.core.sequence import SequenceConfig, SequenceModel
from lit_models.parts.attention import Block, Positions, PositionsName, check_heads
from lit_models.parts.pooling import Pool


class EncoderConfig(SequenceConfig):
    """Hyperparameters of the encoder."""

    init: InitName = Field("default", description="how weights begin; `default` is torch's own")
    # A single number is normalised to nothing.
    width: int = Field(64, ge=2, le=65536, description="numbers of each step; a multiple of the heads")
    heads: int = Field(4, ge=1, le=1024, description="attention heads of each block, which share the width")
    blocks: int = Field(2, ge=1, le=1000, description="blocks, one on another")
    expansion: int = Field(4, ge=1, le=64, description="units of a block's hidden layer, times the width")
    positions: PositionsName = Field("sinusoidal", description="what tells the order of steps; `none` tells nothing")
    pooling: Literal["mean", "first"] = Field("mean", description="what is made of the steps: their mean, or the first")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "EncoderConfig":
        check_heads(self.width, self.heads)
        return self


class EncoderStack(nn.Module):
    """Positions, and blocks of self-attention, normalised at the end.

    Args:
        config: the hyperparameters.
        length: of the longest sequence.
    """

    def __init__(self, config: EncoderConfig, length: int) -> None:
        super().__init__()
        self.positions = Positions(config.positions, length, config.width)
        self.drop = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.dropout, config.expansion) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, T, width) to the same shape; `mask` (B, T) bool is false at padding."""
        states: Tensor = self.norm(self.walk(x, mask)[-1])
        return states

    def walk(self, x: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """Return what goes into each block, and what comes out of the last, (B, T, width) each."""
        seen = [self.drop(self.positions(x))]
        for block in self.blocks:
            seen.append(block(seen[-1], keys(mask)))
        return seen


def keys(mask: Tensor | None) -> Tensor | None:
    """Make of a mask of steps (B, T) one of keys (B, 1, 1, T)."""
    return None if mask is None else mask[:, None, None, :]


class LitEncoder(SequenceModel):
    """An encoder whose blocks normalise first; dropout as in the paper: of embedded steps, and of what blocks add."""

    Config: ClassVar[type[FamilyConfig]] = EncoderConfig
    config: EncoderConfig

    def build(self) -> nn.Module:
        """Build the network."""
        config = self.config
        body = EncoderStack(config, self.spec.length)
        return self.reader(self.entry(config.width), body, Pool(config.pooling, config.width), config.width)

    def attention(self, x: Tensor) -> Tensor:
        """Return how much each step looks at each other, in each head of each block: (blocks, B, heads, T, T)."""
        body, entry, x = self.network.body, self.network.entry, self.normalize(x)
        mask = entry.mask(x)
        inputs = body.walk(entry(x), mask)
        weights = [
            block.attention.weights(block.before(own), mask=keys(mask))
            for block, own in zip(body.blocks, inputs, strict=False)
        ]
        return torch.stack(weights)
