"""How weights begin."""

import pytest
import torch
from torch import nn

from lit_models import ImageSpec
from lit_models.cnn import CNNConfig, LitCNN
from lit_models.core.config import FamilyConfig
from lit_models.core.init import INITIALIZERS, initialize
from lit_models.core.optim import build_optimizer
from lit_models.mlp import LitMLP, MLPConfig
from lit_models.resnet import LitResNet, ResNetConfig

# fan_in of each weight; fan_out beside it.
LINEAR = (lambda: nn.Linear(300, 200), 300, 200)
CONV = (lambda: nn.Conv2d(30, 50, 3), 270, 450)


@pytest.mark.parametrize("layer", [LINEAR, CONV], ids=["linear", "conv"])
@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"zeros"}))
def test_variance(name: str, layer: tuple[type[nn.Module], int, int]) -> None:
    build, fan_in, fan_out = layer
    torch.manual_seed(0)
    module = build()
    initialize(module, name)
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    expected = {"xavier": 2 / (fan_in + fan_out), "kaiming": 2 / fan_in, "small": 1 / fan_in}[name.split("_")[0]]
    assert weight.var().item() == pytest.approx(expected, rel=0.05)
    assert weight.mean().item() == pytest.approx(0, abs=0.05 * expected**0.5)
    largest = weight.abs().max().item() / expected**0.5
    assert (largest <= 3**0.5 + 1e-3) == name.endswith("uniform")
    bias = module.bias
    assert isinstance(bias, torch.Tensor)
    assert not bias.any()


def test_names_are_those_of_the_config() -> None:
    names = FamilyConfig.model_json_schema()["properties"]["init"]["enum"]
    assert set(names) == {"default", *INITIALIZERS}


def test_kaiming_keeps_the_signal_alive_where_small_normal_lets_it_fade(spec: ImageSpec) -> None:
    x = torch.randn(64, 1, 8, 8)
    sizes = {}
    for init in ("kaiming_normal", "small_normal"):
        config = MLPConfig(depth=20, hidden=256, init=init)
        hidden = LitMLP(config, spec).network[:-1](x)  # type: ignore[index]
        sizes[init] = hidden.square().mean().item()
    assert 0.1 < sizes["kaiming_normal"] < 10
    assert sizes["small_normal"] < 1e-4


def test_scales_of_batch_norm_stay_one(spec: ImageSpec) -> None:
    for module in LitResNet(ResNetConfig(init="xavier_normal"), spec).modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert not module.bias.any()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_zeros_never_break_symmetry(spec: ImageSpec, optimizer: str) -> None:
    spread = {}
    for init in ("zeros", "kaiming_normal"):
        settings = {"init": init, "hidden": 16, "activation": "tanh", "optimizer": optimizer, "lr": 0.05}
        config = MLPConfig.model_validate(settings)
        model = LitMLP(config, spec)
        updates = build_optimizer(model.parameters(), config)
        x, y = torch.rand(32, 1, 8, 8) * 16, torch.arange(32) % 10
        for _ in range(10):
            updates.zero_grad()
            torch.autograd.backward(model.sample_losses(model(x), y).mean())
            updates.step()
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        hidden = layers[0].weight
        spread[init] = (hidden - hidden[:1]).abs().max().item()
        assert layers[-1].bias.any(), "it did train"
    assert spread["zeros"] == 0
    assert spread["kaiming_normal"] > 0.01


def test_default_leaves_torchs_own(spec: ImageSpec) -> None:
    config = CNNConfig(init="default")
    model = LitCNN(config, spec)
    convolution = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    # torch draws uniformly within 1/sqrt(fan_in), biases too.
    assert convolution.bias is not None
    assert convolution.bias.any()
    assert convolution.weight.abs().max() <= 1 / 25**0.5
