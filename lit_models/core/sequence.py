"""What families of sequences share: classes of tokens, and numbers told from series."""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from lit_models.core.base import LitModel
from lit_models.core.config import FamilyConfig
from lit_models.parts.embedding import Entry, Reader
from lit_models.parts.pooling import Pool
from lit_models.specs.sequence import SeriesSpec, TokenSpec

__all__ = ["SequenceConfig", "SequenceModel"]


class SequenceConfig(FamilyConfig):
    """Hyperparameters common to all families of sequences."""

    token_dropout: float = Field(
        0.0, ge=0, lt=1, description="probability that a token, or a step of a series, is made unknown in training"
    )

    def problem(self, spec: Any) -> str | None:
        """Refuse for series what needs classes."""
        if isinstance(spec, SeriesSpec) and self.label_smoothing:
            return "label_smoothing needs classes, and the targets of a series are numbers"
        return super().problem(spec)


class SequenceModel(LitModel):
    """A classifier of tokens (B, T), or a regression from series (B, T, F).

    Tokens are int32, padded by 0 on the right. For a series the network sees `(x - mean) / std` and is trained to
    `(y - target_mean) / target_std`; what `forward` returns is in the targets' own units.
    """

    Config: ClassVar[type[FamilyConfig]] = SequenceConfig
    FORMS: ClassVar[tuple[str, ...]] = ("tokens", "series")
    config: SequenceConfig
    spec: TokenSpec | SeriesSpec
    network: Reader

    def __init__(self, config: SequenceConfig, spec: TokenSpec | SeriesSpec, seed: int = 0) -> None:
        super().__init__(config, spec, seed)
        if isinstance(spec, SeriesSpec):
            for name in ("mean", "std", "target_mean", "target_std"):
                self.register_buffer(name, torch.tensor(getattr(spec, name)), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self.target_mean: Tensor
        self.target_std: Tensor

    def entry(self, width: int) -> Entry:
        """Build what maps inputs to vectors of that width; of 0, one-hot tokens or the series as it is."""
        return Entry(self.spec, width, self.config.token_dropout)

    def reader(self, entry: Entry, body: nn.Module, pool: Pool, width: int) -> Reader:
        """Put a network together: its outputs are logits, or targets in units of their deviation."""
        outputs = self.spec.targets if isinstance(self.spec, SeriesSpec) else self.spec.classes
        return Reader(entry, body, pool, width, outputs, self.config.dropout)

    def normalize(self, x: Tensor) -> Tensor:
        """Bring a series (B, T, F) to mean 0 and deviation 1, feature by feature; leave tokens (B, T) as they are."""
        return (x.to(self.mean.dtype) - self.mean) / self.std if isinstance(self.spec, SeriesSpec) else x

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T) to logits (B, classes), or a series (B, T, F) to targets (B, targets) in their units."""
        outputs: Tensor = self.network(self.normalize(x))
        return outputs * self.target_std + self.target_mean if isinstance(self.spec, SeriesSpec) else outputs

    def states(self, x: Tensor) -> Tensor:
        """Return what the network makes of each step, before it is pooled: (B, T, width)."""
        states: Tensor = self.network.read(self.normalize(x))[0]
        return states

    def sample_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of each sample (B,), or the mean square of its errors in units of their deviation.

        Args:
            outputs: of `forward`.
            targets: (B,) int64 labels, (B, classes) probabilities, or (B, targets) numbers.
        """
        if isinstance(self.spec, SeriesSpec):
            return ((outputs - targets) / self.target_std).square().mean(dim=1)
        return super().sample_losses(outputs, targets)

    def validation_sums(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (2,): the sum of the plain losses and the number of hits.

        A hit is the right class, or a series all of whose targets are told to the tolerance.
        """
        if not isinstance(self.spec, SeriesSpec):
            return super().validation_sums(x, y)
        outputs = self(x)
        hits = ((outputs - y).abs() <= self.spec.tolerance).all(dim=1)
        return torch.stack([self.sample_losses(outputs, y).sum(), hits.sum()])
