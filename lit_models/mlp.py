"""The multi-layer perceptron (Rumelhart, Hinton & Williams 1986)."""

import math
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import nn

from lit_models.core.image import ImageConfig, ImageModel, ImageSpec
from lit_models.core.layers import ACTIVATIONS, Dropout


class MLPConfig(ImageConfig):
    """Hyperparameters of the multi-layer perceptron."""

    hidden: int = Field(128, ge=1, le=65536, description="units of each hidden layer")
    depth: int = Field(2, ge=1, le=100, description="hidden layers")
    activation: Literal["relu", "gelu", "tanh"] = Field("relu", description="nonlinearity")
    batch_norm: bool = Field(False, description="batch normalisation after each hidden layer")

    @model_validator(mode="after")
    def _enough_for_batch_norm(self) -> "MLPConfig":
        if self.batch_norm and self.batch_size < 2:
            raise ValueError("batch_norm needs a batch_size of at least 2")
        return self


def build_mlp(config: MLPConfig, spec: ImageSpec) -> nn.Module:
    """Stack linear, batch norm, activation and dropout `depth` times under a linear classifier."""
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(spec.shape)
    for _ in range(config.depth):
        # Batch norm takes the mean away, and with it whatever a bias would add.
        layers.append(nn.Linear(width, config.hidden, bias=not config.batch_norm))
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(config.hidden))
        layers += [ACTIVATIONS[config.activation](), Dropout(config.dropout)]
        width = config.hidden
    return nn.Sequential(*layers, nn.Linear(width, spec.classes))


class LitMLP(ImageModel):
    """Multi-layer perceptron; takes images of every size."""

    Config: ClassVar[type[ImageConfig]] = MLPConfig
    config: MLPConfig

    def build(self) -> nn.Module:
        """Build the network."""
        return build_mlp(self.config, self.spec)
