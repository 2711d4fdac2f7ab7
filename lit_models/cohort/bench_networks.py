"""What the benchmark trains: families as a cohort takes them, and each network as a person would write it for itself.

The LSTM and the Transformer are no families of the table `FAMILIES`. They are written so that `torch.vmap` takes them:
a cell of matrix products in place of `nn.LSTM`, matrix product and softmax in place of torch's fused attention.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from lit_models.cnn import LitCNN
from lit_models.core.image import ImageConfig, ImageModel, ImageSpec
from lit_models.core.layers import Dropout, StochasticDepth
from lit_models.mlp import LitMLP
from lit_models.resnet import LitResNet


class SequenceConfig(ImageConfig):
    """Hyperparameters of both networks for sequences; a sequence of T steps of F numbers is an image (1, T, F)."""

    width: int = Field(64, ge=1, description="units of the LSTM, channels of the Transformer")
    heads: int = Field(4, ge=1, description="attention heads; they divide the width")
    blocks: int = Field(2, ge=1, description="blocks of the Transformer")


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), its cell written out."""

    def __init__(self, features: int, config: SequenceConfig, classes: int) -> None:
        super().__init__()
        self.input = nn.Linear(features, 4 * config.width)
        self.recurrent = nn.Linear(config.width, 4 * config.width, bias=False)
        self.head = nn.Sequential(Dropout(config.dropout), nn.Linear(config.width, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1, T, F) to logits (B, classes)."""
        # The inputs' product needs no state, so one product serves all steps.
        steps = self.input(x.squeeze(1)).unbind(1)
        hidden = cell = torch.zeros_like(steps[0].chunk(4, dim=1)[0])
        for step in steps:
            enter, keep, value, leave = (step + self.recurrent(hidden)).chunk(4, dim=1)
            cell = keep.sigmoid() * cell + enter.sigmoid() * value.tanh()
            hidden = leave.sigmoid() * cell.tanh()
        logits: Tensor = self.head(hidden)
        return logits


class Block(nn.Module):
    """A block of a Transformer, normalised first (Xiong et al. 2020); keys have no bias, which would do nothing."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.drop = Dropout(config.dropout)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, width) to the same shape."""
        x = x + self.drop(self.out(self.attention(self.before(x))))
        y: Tensor = x + self.drop(self.mlp(self.between(x)))
        return y

    def attention(self, x: Tensor) -> Tensor:
        """Mix the steps (B, T, width) by their likeness (Vaswani et al. 2017)."""
        batch, length, width = x.shape
        parts: Tensor = self.projections(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(dim=-1)
        mixed: Tensor = (weights @ value).transpose(1, 2).reshape(batch, length, width)
        return mixed


class Transformer(nn.Module):
    """An encoder: embedded steps, `blocks` that map (B, T, width) to itself, their mean under a linear classifier."""

    def __init__(self, shape: tuple[int, int, int], config: SequenceConfig, classes: int, blocks: nn.Module) -> None:
        super().__init__()
        _, length, features = shape
        self.input = nn.Linear(features, config.width)
        self.position = nn.Parameter(torch.zeros(length, config.width))
        self.blocks = blocks
        self.head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1, T, F) to logits (B, classes)."""
        logits: Tensor = self.head(self.blocks(self.input(x.squeeze(1)) + self.position).mean(dim=1))
        return logits


class LitLSTM(ImageModel):
    """One layer of LSTM."""

    Config: ClassVar[type[ImageConfig]] = SequenceConfig
    config: SequenceConfig

    def build(self) -> nn.Module:
        """Build the network."""
        return LSTM(self.spec.shape[2], self.config, self.spec.classes)


class LitTransformer(ImageModel):
    """A small encoder."""

    Config: ClassVar[type[ImageConfig]] = SequenceConfig
    config: SequenceConfig

    def build(self) -> nn.Module:
        """Build the network."""
        blocks = nn.Sequential(*(Block(self.config) for _ in range(self.config.blocks)))
        return Transformer(self.spec.shape, self.config, self.spec.classes, blocks)


class TorchLSTM(nn.Module):
    """The same network by torch's own LSTM, which is a single kernel on a GPU."""

    def __init__(self, features: int, config: SequenceConfig, classes: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, config.width, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.width, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 1, T, F) to logits (B, classes)."""
        logits: Tensor = self.head(self.lstm(x.squeeze(1))[0][:, -1])
        return logits


def _plain(model: ImageModel) -> nn.Module:
    """The family's network with torch's own dropout, and without what is switched off."""
    for module in list(model.network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(float(child.p)))
            elif isinstance(child, StochasticDepth) and child.p == 0:
                setattr(module, name, nn.Identity())
    return model.network


def _plain_lstm(model: ImageModel) -> nn.Module:
    return TorchLSTM(model.spec.shape[2], cast("SequenceConfig", model.config), model.spec.classes)


def _plain_transformer(model: ImageModel) -> nn.Module:
    """The same network by torch's own encoder layers, which have fused attention."""
    config = cast("SequenceConfig", model.config)
    layers = [
        nn.TransformerEncoderLayer(
            config.width, config.heads, 2 * config.width, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        for _ in range(config.blocks)
    ]
    return Transformer(model.spec.shape, config, model.spec.classes, nn.Sequential(*layers))


@dataclass(frozen=True)
class Case:
    """A network of the benchmark.

    Attributes:
        family: as a cohort takes it.
        shape: of an image, or of a sequence (1, T, F).
        config: hyperparameters that are not the family's defaults.
        plain: turns a fresh model into the network that a person would write.
    """

    family: type[ImageModel]
    shape: tuple[int, int, int]
    config: dict[str, Any] = field(default_factory=dict)
    plain: Callable[[ImageModel], nn.Module] = _plain

    @property
    def spec(self) -> ImageSpec:
        """Statistics of uint8 noise."""
        channels = self.shape[0]
        return ImageSpec(shape=self.shape, classes=10, mean=(0.5,) * channels, std=(0.29,) * channels, scale=255.0)


# What a run measures where nobody says; the others are for the rule's constants on a CPU.
USUAL = ("digits-cnn", "cnn-32", "resnet-32", "lstm", "transformer")
CASES = {
    "digits-cnn": Case(LitCNN, (1, 8, 8)),
    "cnn-32": Case(LitCNN, (3, 32, 32)),
    "resnet-32": Case(LitResNet, (3, 32, 32)),
    "lstm": Case(LitLSTM, (1, 32, 32), plain=_plain_lstm),
    "transformer": Case(LitTransformer, (1, 32, 32), plain=_plain_transformer),
    "mlp-32": Case(LitMLP, (1, 8, 8), {"hidden": 32}),
    "mlp-256": Case(LitMLP, (1, 8, 8), {"hidden": 256}),
    "mlp-1024x3": Case(LitMLP, (1, 8, 8), {"hidden": 1024, "depth": 3}),
    "cnn-16": Case(LitCNN, (1, 16, 16)),
    "digits-wide-cnn": Case(LitCNN, (1, 8, 8), {"channels1": 32, "channels2": 64, "batch_norm": True}),
    "digits-resnet": Case(LitResNet, (1, 8, 8)),
    "wide-resnet-32": Case(LitResNet, (3, 32, 32), {"width": 64}),
    "mlp-4096x3": Case(LitMLP, (1, 8, 8), {"hidden": 4096, "depth": 3}),
}
