"""What each trick of a network does, and what convolution is."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError
from torch import Tensor, nn

from lit_models import ImageSpec
from lit_models.cnn import CNNConfig, LitCNN
from lit_models.core.layers import Dropout, StochasticDepth
from lit_models.core.noise import Noise, drawing
from lit_models.mlp import LitMLP, MLPConfig
from lit_models.resnet import BasicBlock, LitResNet, ResNetConfig


@pytest.fixture(params=[None, Noise(7)], ids=["torch's generator", "noise"])
def source(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where layers draw from: torch's global generator, or a step's noise."""
    torch.manual_seed(0)
    with nullcontext() if request.param is None else drawing(request.param):
        yield


@pytest.mark.usefixtures("source")
def test_dropout_drops_in_training_and_keeps_the_expectation(spec: ImageSpec) -> None:
    model = LitMLP(MLPConfig(dropout=0.4), spec)
    layer = next(module for module in model.modules() if isinstance(module, Dropout))
    x = torch.ones(200_000)
    dropped = layer(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("config", [MLPConfig(dropout=0.5), CNNConfig(dropout=0.5)], ids=["mlp", "cnn"])
def test_dropout_reaches_the_logits(spec: ImageSpec, config: MLPConfig | CNNConfig) -> None:
    model = LitMLP(config, spec) if isinstance(config, MLPConfig) else LitCNN(config, spec)
    x = torch.rand(4, 1, 8, 8) * 16
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_label_smoothing_is_its_formula(spec: ImageSpec) -> None:
    share = 0.2
    logits, y = torch.randn(6, 10), torch.arange(6)
    targets = (1 - share) * F.one_hot(y, 10) + share / 10
    expected = -(targets * logits.log_softmax(1)).sum(1)
    model = LitMLP(MLPConfig(label_smoothing=share), spec)
    torch.testing.assert_close(model.sample_losses(logits, y), expected)
    torch.testing.assert_close(model.sample_losses(logits, F.one_hot(y, 10).float()), expected)


@pytest.mark.usefixtures("source")
def test_stochastic_depth_keeps_the_expectation_sample_by_sample() -> None:
    layer = StochasticDepth(0.3)
    x = torch.rand(20_000, 2, 2, 2) + 0.5
    y = layer(x)
    dropped = (y == 0).flatten(1)
    assert torch.equal(dropped.all(1), dropped.any(1)), "a sample's branch goes as a whole"
    assert dropped.all(1).float().mean().item() == pytest.approx(0.3, abs=0.015)
    assert (y / x).mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(layer.eval()(x), x)


def test_stochastic_depth_grows_linearly(spec: ImageSpec) -> None:
    model = LitResNet(ResNetConfig(stages=2, blocks=2, stochastic_depth=0.4), spec)
    drops = [module.p for module in model.modules() if isinstance(module, StochasticDepth)]
    assert drops == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_stochastic_depth_needs_skip() -> None:
    with pytest.raises(ValidationError, match="stochastic_depth needs skip"):
        ResNetConfig(skip=False, stochastic_depth=0.1)


@pytest.mark.parametrize("outputs", [4, 8])
def test_without_skip_there_is_no_identity_path(outputs: int) -> None:
    x = torch.rand(2, 4, 6, 6)
    with_skip, without = (
        BasicBlock(4, outputs, outputs // 4, skip=skip, dropout=0.0, drop=0.0).eval() for skip in (True, False)
    )
    for block in (with_skip, without):
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
    assert not without(x).any()
    stride = outputs // 4
    assert torch.equal(with_skip(x)[:, :4], x[:, :, ::stride, ::stride])
    assert not with_skip(x)[:, 4:].any()


def test_skip_keeps_the_gradient_of_a_deep_network_alive(spec: ImageSpec) -> None:
    """The point of He et al.: at depth, the plain network's first layer hardly hears of the loss."""
    sizes = {}
    for skip in (True, False):
        model = LitResNet(ResNetConfig(width=4, blocks=12, skip=skip), spec).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.constant_(module.weight, 0.5)
        x, y = torch.rand(8, 1, 8, 8) * 16, torch.arange(8)
        torch.autograd.backward(model.sample_losses(model(x), y).mean())
        gradient = next(model.parameters()).grad
        assert gradient is not None
        sizes[skip] = gradient.norm().item()
    assert sizes[True] > 100 * sizes[False]


def first_convolution(spec: ImageSpec) -> nn.Conv2d:
    model = LitCNN(CNNConfig(), spec)
    return next(module for module in model.modules() if isinstance(module, nn.Conv2d))


def test_moving_the_image_moves_the_maps(spec: ImageSpec) -> None:
    convolution = first_convolution(spec)
    x = torch.zeros(1, 1, 16, 16)
    x[:, :, 5:9, 5:9] = torch.rand(4, 4)
    down, right = 3, 2
    moved = x.roll((down, right), dims=(2, 3))
    torch.testing.assert_close(convolution(moved), convolution(x).roll((down, right), dims=(2, 3)))


def toeplitz(kernel: Tensor, size: int, padding: int) -> Tensor:
    """Build the doubly blocked Toeplitz matrix (size^2, size^2) of a padded convolution by one kernel."""
    matrix = torch.zeros(size * size, size * size, dtype=kernel.dtype)
    for row in range(size):
        for column in range(size):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    y, x = row + i - padding, column + j - padding
                    if 0 <= y < size and 0 <= x < size:
                        matrix[row * size + column, y * size + x] = kernel[i, j]
    return matrix


def test_convolution_is_a_matrix_product(spec: ImageSpec) -> None:
    convolution = first_convolution(spec).double()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    maps = convolution(x)
    for channel in range(convolution.out_channels):
        matrix = toeplitz(convolution.weight[channel, 0].detach(), 8, padding=2)
        # Constant along diagonals inside each block, and blocks constant along theirs.
        assert torch.equal(matrix[2 * 8 + 2, 2 * 8 : 3 * 8 - 1], matrix[2 * 8 + 3, 2 * 8 + 1 : 3 * 8])
        assert torch.equal(matrix[16:24, 16:24], matrix[24:32, 24:32])
        product = x.flatten(1) @ matrix.T
        assert convolution.bias is not None
        torch.testing.assert_close(maps[:, channel].flatten(1), product + convolution.bias[channel])


def test_lenet_has_the_papers_widths() -> None:
    spec = ImageSpec(shape=(1, 32, 32), classes=10, mean=(0.1,), std=(0.3,), scale=255.0)
    model = LitCNN(CNNConfig(), spec)
    widths = [p.shape[0] for name, p in model.named_parameters() if name.endswith("weight")]
    assert widths == [6, 16, 120, 84, 10]


@pytest.mark.parametrize("kind", [MLPConfig, ResNetConfig])
def test_batch_norm_refuses_batches_of_one(kind: type[MLPConfig] | type[ResNetConfig]) -> None:
    settings = {"batch_norm": True} if kind is MLPConfig else {}
    with pytest.raises(ValidationError, match="batch_size of at least 2"):
        kind.model_validate({"batch_size": 1, **settings})
