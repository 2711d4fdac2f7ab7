"""Residual networks for small images (He, Zhang, Ren & Sun, Deep residual learning, 2015, section 4.2)."""

from typing import ClassVar

import torch.nn.functional as F  # noqa: N812
from pydantic import Field, model_validator
from torch import Tensor, nn

from lit_models.core.image import ImageConfig, ImageModel, ImageSpec
from lit_models.core.layers import Dropout, StochasticDepth


class ResNetConfig(ImageConfig):
    """Hyperparameters of the residual network."""

    width: int = Field(16, ge=1, le=2048, description="channels of the first stage; doubles each stage")
    stages: int = Field(2, ge=1, le=8, description="stages; each after the first halves the image")
    blocks: int = Field(1, ge=1, le=50, description="blocks of two convolutions in each stage")
    skip: bool = Field(True, description="keep the skip connections; off for the plain network")
    stochastic_depth: float = Field(
        0.0, ge=0, lt=1, description="probability that the last block is dropped in training"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ResNetConfig":
        if self.stochastic_depth > 0 and not self.skip:
            raise ValueError("stochastic_depth needs skip: a dropped block would leave nothing")
        if self.batch_size < 2:
            raise ValueError("batch normalisation needs a batch_size of at least 2")
        return self

    def problem(self, spec: ImageSpec) -> str | None:
        """Refuse images that have no pixel left to halve before the last stage."""
        _, height, width = spec.shape
        smallest = 2 ** (self.stages - 1)
        if min(height, width) >= smallest:
            return super().problem(spec)
        return (
            f"a ResNet of {self.stages} stages halves an image {self.stages - 1} times, "
            f"so {height}x{width} is too small: the smallest that fits is {smallest}x{smallest}"
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, dropout between them (Zagoruyko & Komodakis 2016).

    Where the shape changes the shortcut takes every second pixel and pads channels with zeros (the paper's
    option A, which adds no parameters).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, skip: bool, dropout: float, drop: float) -> None:
        super().__init__()
        self.stride, self.skip, self.extra = stride, skip, outputs - inputs
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            Dropout(dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.depth = StochasticDepth(drop)

    def shortcut(self, x: Tensor) -> Tensor:
        """Bring the input (B, C, H, W) to the branch's shape."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.extra)) if self.extra else x

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, outputs, H / stride, W / stride), rounded up."""
        y: Tensor = self.branch(x)
        return F.relu(self.shortcut(x) + self.depth(y) if self.skip else y)


def build_resnet(config: ResNetConfig, spec: ImageSpec) -> nn.Module:
    """Stack a 3x3 stem, the stages, a global average pool and a linear classifier.

    The chance to be dropped grows linearly from block to block up to `stochastic_depth` (the paper's linear
    decay of survival).
    """
    channels = config.width
    layers: list[nn.Module] = [
        nn.Conv2d(spec.shape[0], channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]
    total = config.stages * config.blocks
    for number in range(total):
        stage, place = divmod(number, config.blocks)
        outputs = config.width * 2**stage
        stride = 2 if stage > 0 and place == 0 else 1
        drop = config.stochastic_depth * (number + 1) / total
        layers.append(BasicBlock(channels, outputs, stride, config.skip, config.dropout, drop))
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, spec.classes))


class LitResNet(ImageModel):
    """Residual network of basic blocks: widths w, 2w, 4w, ..., a stage each."""

    Config: ClassVar[type[ImageConfig]] = ResNetConfig
    config: ResNetConfig

    def build(self) -> nn.Module:
        """Build the network."""
        return build_resnet(self.config, self.spec)
