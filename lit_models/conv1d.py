"""Convolutional networks for sequences: patterns of neighbouring steps, wherever they stand (Waibel et al. 1989)."""

from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import Field
from torch import Tensor, nn

from lit_models.core.config import FamilyConfig
from lit_models.core.layers import ACTIVATIONS, Dropout
from lit_models.core.sequence import SequenceConfig, SequenceModel
from lit_models.parts.embedding import Embedding, OneHot
from lit_models.parts.pooling import Pool


class Conv1dConfig(SequenceConfig):
    """Hyperparameters of convolutional networks for sequences."""

    embedding: int = Field(
        0, ge=0, le=65536, description="numbers a step goes in as; 0 is one-hot tokens, or a series as it is"
    )
    width: int = Field(32, ge=1, le=65536, description="filters of each convolution")
    depth: int = Field(2, ge=1, le=100, description="convolutions, one on another")
    kernel_size: int = Field(5, ge=1, le=1025, description="taps of each filter, steps")
    dilation: int = Field(1, ge=1, le=16, description="taps stand that many times further apart with each layer")
    causal: bool = Field(False, description="whether a step sees those before it alone, not those behind")
    batch_norm: bool = Field(False, description="batch normalisation after each convolution, over what is no padding")
    activation: Literal["relu", "gelu", "tanh"] = Field("relu", description="nonlinearity")
    pooling: Literal["max", "mean"] = Field("max", description="what is made of the steps")

    def problem(self, spec: Any) -> str | None:
        """Refuse a dilation whose taps would stand outside of every sequence but for one."""
        furthest = self.dilation ** (self.depth - 1)
        if furthest == 1 or furthest < spec.length:
            return super().problem(spec)
        return (
            f"a dilation of {self.dilation} puts the taps of layer {self.depth} {furthest} steps apart, "
            f"and sequences have {spec.length}"
        )


class MaskedBatchNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) whose mean and variance are of the steps that are no padding.

    Args:
        channels: of its input.
        momentum: share of a batch's statistics in the running ones.
    """

    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.running_mean: Tensor
        self.running_var: Tensor

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C, T) to the same shape; `mask` (B, 1, T) is 0 at padding, where `x` may be anything."""
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = self._statistics(x, mask)
        gain = self.weight * (var + 1e-5).rsqrt()
        return x * gain.unsqueeze(1) + (self.bias - mean * gain).unsqueeze(1)

    def _statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance (C,) of a batch, and let the running ones follow."""
        if mask is None:
            mask = torch.ones_like(x[:, :1])
        count = mask.sum().clamp(min=1)
        mean = (x * mask).sum(dim=(0, 2)) / count
        var = ((x - mean.unsqueeze(1)).square() * mask).sum(dim=(0, 2)) / count
        with torch.no_grad():
            # As torch: unbiased where it is kept, biased where it divides.
            kept = mean, var * (count / (count - 1).clamp(min=1))
            for running, value in zip((self.running_mean, self.running_var), kept, strict=True):
                running.mul_(1 - self.momentum).add_(value * self.momentum)
        return mean, var


class Convolution(nn.Module):
    """A 1D convolution that keeps the number of steps, with what comes after it.

    Args:
        inputs: channels that go in.
        config: the hyperparameters.
        dilation: steps from tap to tap.
    """

    def __init__(self, inputs: int, config: Conv1dConfig, dilation: int) -> None:
        super().__init__()
        # Batch norm takes the mean away, and with it whatever a bias would add.
        self.conv = nn.Conv1d(inputs, config.width, config.kernel_size, dilation=dilation, bias=not config.batch_norm)
        reach = dilation * (config.kernel_size - 1)
        before = reach if config.causal else reach // 2
        self.pad = (before, reach - before)
        self.norm = MaskedBatchNorm(config.width) if config.batch_norm else None
        self.after = nn.Sequential(ACTIVATIONS[config.activation](), Dropout(config.dropout))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, C, T) to (B, width, T); `mask` (B, 1, T) is 0 at padding."""
        y = self.response(x, mask)
        y = y if self.norm is None else self.norm(y, mask)
        z: Tensor = self.after(y)
        return z

    def response(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return what the filters alone say: (B, C, T) to (B, width, T)."""
        # Zeros, as they stand beyond the ends, so that it makes no difference where a batch is cut off.
        x = x if mask is None else x * mask
        y: Tensor = self.conv(F.pad(x, self.pad))
        return y


class ConvolutionStack(nn.Module):
    """Convolutions, one on another.

    Args:
        inputs: numbers a step.
        config: the hyperparameters.
    """

    def __init__(self, inputs: int, config: Conv1dConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Convolution(config.width if number else inputs, config, config.dilation**number)
            for number in range(config.depth)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, T, F) to (B, T, width); `mask` (B, T) bool is false at padding."""
        x, own = channels_first(x, mask)
        for layer in self.layers:
            x = layer(x, own)
        return x.transpose(1, 2)


def channels_first(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Turn (B, T, F) and a mask (B, T) bool into (B, F, T) and (B, 1, T) of the same type."""
    return x.transpose(1, 2), None if mask is None else mask.unsqueeze(1).to(x.dtype)


class LitConv1d(SequenceModel):
    """Convolutions under a pool over all steps.

    A dilation of 2 doubles the distance from tap to tap with each layer, so that what a step sees grows by powers of 2
    (van den Oord et al., WaveNet, 2016; Bai et al. 2018).
    """

    Config: ClassVar[type[FamilyConfig]] = Conv1dConfig
    config: Conv1dConfig

    def build(self) -> nn.Module:
        """Build the network."""
        entry = self.entry(self.config.embedding)
        body = ConvolutionStack(entry.width, self.config)
        return self.reader(entry, body, Pool(self.config.pooling, self.config.width), self.config.width)

    def first_filters(self) -> Tensor:
        """Return what each token adds to the first layer's filters at each tap: (filters, vocabulary, kernel_size).

        For one-hot tokens these are the filters themselves; padding's row is 0.

        Raises:
            ValueError: the data are a series, so there are no tokens.
        """
        vectors = self.network.entry.vectors
        if not isinstance(vectors, Embedding | OneHot):
            raise ValueError("a series has no tokens that filters could be told by")
        return torch.einsum("ve,fek->fvk", vectors.vectors, self.network.body.layers[0].conv.weight)

    def first_responses(self, x: Tensor) -> Tensor:
        """Return how strongly each of the first layer's filters answers at each step: (B, T, filters)."""
        entry, x = self.network.entry, self.normalize(x)
        responses: Tensor = self.network.body.layers[0].response(*channels_first(entry(x), entry.mask(x)))
        return responses.transpose(1, 2)
