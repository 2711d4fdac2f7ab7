"""LeNet-5 (LeCun, Bottou, Bengio & Haffner, Gradient-based learning, 1998)."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from lit_models.core.image import ImageConfig, ImageModel, ImageSpec
from lit_models.core.layers import ACTIVATIONS, Dropout

SMALLEST = 4


class CNNConfig(ImageConfig):
    """Hyperparameters of LeNet-5."""

    channels1: int = Field(6, ge=1, le=4096, description="feature maps of the first convolution")
    channels2: int = Field(16, ge=1, le=4096, description="feature maps of the second convolution")
    hidden1: int = Field(120, ge=1, le=65536, description="units of the first hidden layer")
    hidden2: int = Field(84, ge=1, le=65536, description="units of the second hidden layer")
    kernel_size: Literal[3, 5, 7] = Field(5, description="side of the convolution kernels, pixels")
    activation: Literal["relu", "tanh"] = Field("relu", description="nonlinearity")
    pool: Literal["max", "avg"] = Field("max", description="how 2x2 pixels become one")
    batch_norm: bool = Field(False, description="batch normalisation after each convolution")

    def problem(self, spec: ImageSpec) -> str | None:
        """Refuse images that the two poolings would shrink to nothing."""
        _, height, width = spec.shape
        if min(height, width) >= SMALLEST:
            return super().problem(spec)
        return (
            f"LeNet halves an image twice, so {height}x{width} is too small: "
            f"the smallest that fits is {SMALLEST}x{SMALLEST}"
        )


def build_cnn(config: CNNConfig, spec: ImageSpec) -> nn.Module:
    """Stack convolution and pooling twice under two hidden layers and a linear classifier."""
    channels, height, width = spec.shape
    activation = ACTIVATIONS[config.activation]
    layers: list[nn.Module] = []
    for maps in (config.channels1, config.channels2):
        kernel = config.kernel_size
        # Batch norm takes the mean away, and with it whatever a bias would add.
        layers.append(nn.Conv2d(channels, maps, kernel, padding=kernel // 2, bias=not config.batch_norm))
        if config.batch_norm:
            layers.append(nn.BatchNorm2d(maps))
        # A maximum and a rising activation may change places, which leaves a quarter of the activations to compute.
        layers += [nn.MaxPool2d(2), activation()] if config.pool == "max" else [activation(), nn.AvgPool2d(2)]
        channels = maps
    layers.append(nn.Flatten())
    features = channels * (height // 4) * (width // 4)
    for units in (config.hidden1, config.hidden2):
        layers += [nn.Linear(features, units), activation(), Dropout(config.dropout)]
        features = units
    return nn.Sequential(*layers, nn.Linear(features, spec.classes))


class LitCNN(ImageModel):
    """LeNet-5 with its layers and widths: conv 6, pool, conv 16, pool, 120, 84, classes.

    What differs from the paper: convolutions are padded, so that images as small as 4x4 fit; poolings have
    no weights; every map of the second convolution sees every map of the first; the output is linear under
    a softmax cross-entropy, not Gaussian units; ReLU and max pooling are the defaults (`tanh` and `avg`
    bring back the old); batch normalisation and dropout are options.
    """

    Config: ClassVar[type[ImageConfig]] = CNNConfig
    config: CNNConfig

    def build(self) -> nn.Module:
        """Build the network."""
        return build_cnn(self.config, self.spec)
