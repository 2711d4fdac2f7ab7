"""The encoder-decoder Transformer (Vaswani et al., Attention is all you need, 2017)."""

from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field, model_validator
from torch import Tensor, nn

from lit_models.core.augment import Mixing
from lit_models.core.base import FamilyConfig, LitModel
from lit_models.core.config import InitName
from lit_models.core.layers import Dropout
from lit_models.core.noise import Noise
from lit_models.parts.attention import (
    Block,
    KeysValues,
    Positions,
    PositionsName,
    causal_mask,
    check_heads,
    padding_mask,
)
from lit_models.parts.decoding import Decoded, State, beam_search, greedy, likeliest
from lit_models.specs.sequence import BEGIN, PADDING, PairSpec


class TransformerConfig(FamilyConfig):
    """Hyperparameters of the encoder-decoder Transformer."""

    init: InitName = Field("small_normal", description="how weights begin; `default` is torch's own")
    # Two numbers, normalised, are always 1 and -1: a block of that width learns from rounding errors.
    width: int = Field(64, ge=4, le=65536, description="numbers that stand for a token; a multiple of the heads")
    heads: int = Field(4, ge=1, le=1024, description="heads of each attention, which share the width")
    encoder_blocks: int = Field(2, ge=1, le=200, description="blocks that read the source")
    decoder_blocks: int = Field(2, ge=1, le=200, description="blocks that write the target")
    positions: PositionsName = Field("sinusoidal", description="what tells the order of tokens, of both sides")

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "TransformerConfig":
        check_heads(self.width, self.heads)
        return self


class EncoderDecoder(nn.Module):
    """Maps a source and what is written of the target so far to logits of the target's next tokens.

    Args:
        config: width, heads, blocks and the rest.
        spec: vocabularies and lengths of both sides.
    """

    def __init__(self, config: TransformerConfig, spec: PairSpec) -> None:
        super().__init__()
        width, heads, dropout = config.width, config.heads, config.dropout
        self.source = nn.Embedding(spec.source_vocabulary, width)
        self.source_positions = Positions(config.positions, spec.source_length, width)
        self.encoder = nn.ModuleList(Block(width, heads, dropout) for _ in range(config.encoder_blocks))
        self.source_norm = nn.LayerNorm(width)
        self.target = nn.Embedding(spec.target_vocabulary, width)
        self.target_positions = Positions(config.positions, spec.target_length, width)
        self.decoder = nn.ModuleList(Block(width, heads, dropout, cross=True) for _ in range(config.decoder_blocks))
        self.target_norm = nn.LayerNorm(width)
        self.drop = Dropout(dropout)
        self.head = nn.Linear(width, spec.target_vocabulary)

    def encode(self, source: Tensor) -> Tensor:
        """Map source tokens (B, S), right-padded with 0, to the memory (B, S, width) that the decoder looks at."""
        x = self.drop(self.source_positions(_scaled(self.source, source)))
        mask = padding_mask(source)
        for block in self.encoder:
            x = block(x, mask)
        memory: Tensor = self.source_norm(x)
        return memory

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Map source (B, S) and target (B, T), BEGIN first, to logits (B, T, vocabulary) of the tokens after each.

        Each comes from the target's tokens up to it alone. Padding is to the right, so that no step before it sees it.
        """
        memory, memory_mask = self.encode(source), padding_mask(source)
        x = self.drop(self.target_positions(_scaled(self.target, target)))
        mask = causal_mask(target.shape[1], target.device)
        for block in self.decoder:
            x = block(x, mask, memory, memory_mask)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Map what the last block gave (B, T, width) to logits (B, T, vocabulary)."""
        logits: Tensor = self.head(self.target_norm(x))
        return logits

    def begin(self, source: Tensor) -> State:
        """Read sources (B, S) and return the state from which `step` writes their targets."""
        memory = self.encode(source)
        known = tuple(cast(Any, block).cross.keys_values(memory) for block in self.decoder)
        return padding_mask(source), known, (None,) * len(known)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Map the last tokens (B,) and a state to logits (B, vocabulary) of the next, and the next state.

        What the tokens before had to say is kept in the state, as keys and values: no token is read twice.
        """
        memory_mask, known, pasts = cast(tuple[Tensor, tuple[KeysValues, ...], tuple[KeysValues | None, ...]], state)
        start = 0 if pasts[0] is None else pasts[0][0].shape[2]
        x = self.drop(self.target_positions(_scaled(self.target, tokens.unsqueeze(1)), start))
        kept = []
        for block, own, past in zip(self.decoder, known, pasts, strict=True):
            x, keys_values = cast(Block, block).step(x, past, own, memory_mask)
            kept.append(keys_values)
        return self.logits(x).squeeze(1), (memory_mask, known, tuple(kept))

    def self_attention(self, source: Tensor) -> Tensor:
        """Return how much each step of a source looks at each: (blocks, B, heads, S, S), rows sum to 1."""
        x = self.source_positions(_scaled(self.source, source))
        mask = padding_mask(source)
        found = []
        for module in self.encoder:
            block: Any = module
            found.append(block.attention.weights(block.before(x), mask=mask))
            x = block(x, mask)
        return torch.stack(found)

    def cross_attention(self, source: Tensor, target: Tensor) -> Tensor:
        """Return how much each target step looks at each of the source: (blocks, B, heads, T, S), rows sum to 1."""
        memory, memory_mask = self.encode(source), padding_mask(source)
        x = self.target_positions(_scaled(self.target, target))
        mask = causal_mask(target.shape[1], target.device)
        found = []
        for module in self.decoder:
            block: Any = module
            asking = block.between(x + block.attention(block.before(x), mask=mask))
            found.append(block.cross.weights(asking, memory, memory_mask))
            x = block(x, mask, memory, memory_mask)
        return torch.stack(found)


def _scaled(embedding: nn.Embedding, tokens: Tensor) -> Tensor:
    """Look up tokens (B, T), times the root of the width, as the paper does: (B, T, width)."""
    vectors: Tensor = embedding(tokens) * embedding.embedding_dim**0.5
    return vectors


class LitTransformer(LitModel):
    """Transformer that translates: one target for each source, trained with the right target so far (teacher forcing).

    What differs from the paper: normalised first, with exact GELU; keys have no bias, which would do nothing; the two
    sides have embeddings of their own, and the output shares none.
    """

    Config: ClassVar[type[FamilyConfig]] = TransformerConfig
    FORMS: ClassVar[tuple[str, ...]] = ("pairs",)
    config: TransformerConfig
    spec: PairSpec
    network: EncoderDecoder

    def build(self) -> nn.Module:
        """Build the network."""
        return EncoderDecoder(self.config, self.spec)

    def forward(self, x: Tensor) -> Tensor:
        """Write a target for each source (B, S), always the likeliest next token.

        Returns:
            Logits (B, target_length - 1, vocabulary) of the tokens after BEGIN. `likeliest` gives the tokens; what
            stands after the first END means nothing.
        """
        state, tokens = self.network.begin(x), torch.full_like(x[:, 0], BEGIN, dtype=torch.int64)
        written = []
        for _ in range(self.spec.target_length - 1):
            logits, state = self.network.step(tokens, state)
            written.append(logits)
            tokens = likeliest(logits)
        return torch.stack(written, dim=1)

    def translate(self, x: Tensor, beam: int = 1, penalty: float = 0.6) -> Decoded:
        """Write a target for each source (B, S): greedily, or by a beam search of that width and length penalty."""
        state, begin = self.network.begin(x), torch.full_like(x[:, 0], BEGIN, dtype=torch.int64)
        length = self.spec.target_length
        if beam == 1:
            return greedy(self.network.step, state, begin, length)
        return beam_search(self.network.step, state, begin, length, beam, penalty)

    def train_outputs(self, x: Tensor, y: Tensor, noise: Noise, mixing: Mixing | None) -> tuple[Tensor, Tensor]:
        """Show the right target up to each token: logits (B, T - 1, vocabulary), and the next tokens (B, T - 1)."""
        del noise, mixing
        return self.network(x, y[:, :-1]), y[:, 1:].long()

    def sample_losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each target (B,), the mean over its tokens, smoothed as in the base.

        Args:
            logits: (B, T, vocabulary).
            targets: the next tokens, (B, T) int64; padding does not count.
        """
        losses = super().sample_losses(logits.flatten(0, 1), targets.flatten())
        return _mean_of_tokens(losses.view(targets.shape), targets)

    def validation_sums(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (2,): the sum of the targets' mean losses, and how many had every token told right.

        The right target is shown up to each token here too: writing it all by itself may end in another.
        """
        logits, targets = self.network(x, y[:, :-1]), y[:, 1:].long()
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
        right = ((likeliest(logits) == targets) | (targets == PADDING)).all(dim=1)
        return torch.stack([_mean_of_tokens(losses, targets).sum(), right.sum()])


def _mean_of_tokens(losses: Tensor, targets: Tensor) -> Tensor:
    """The mean (B,) of losses (B, T) over the targets that are no padding."""
    real = (targets != PADDING).to(losses.dtype)
    return (losses * real).sum(dim=1) / real.sum(dim=1).clamp_min(1)
