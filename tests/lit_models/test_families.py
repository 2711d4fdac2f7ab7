"""The conformance suite: every family in FAMILIES must pass it. A new family inherits it by being listed."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.export import Dim, export

from lit_models import FAMILIES, DataSpec, FamilyConfig, LitModel
from lit_models.cnn import CNNConfig
from tests.lit_models.architectures import architectures

SHAPES = [(1, 8, 8), (3, 32, 32), (2, 9, 13)]

families = pytest.mark.parametrize("family", sorted(FAMILIES))
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def make(family: str, shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0, **settings: Any) -> LitModel:
    channels = shape[0]
    spec = DataSpec(shape=shape, classes=10, mean=(0.3,) * channels, std=(0.4,) * channels, scale=255.0)
    kind = FAMILIES[family]
    return kind(kind.Config(**settings), spec, seed=seed)


def images(shape: tuple[int, int, int], count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


@families
@shapes
def test_maps_raw_pixels_to_logits(family: str, shape: tuple[int, int, int]) -> None:
    model = make(family, shape).eval()
    x = images(shape)
    logits = model(x)
    assert logits.shape == (4, 10)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, model(x.float()))


@families
def test_normalises_by_the_spec(family: str) -> None:
    model = make(family).eval()
    x = images((1, 8, 8))
    torch.testing.assert_close(model(x), model.network((x / 255 - 0.3) / 0.4))


@families
@shapes
def test_gradient_reaches_every_parameter(family: str, shape: tuple[int, int, int]) -> None:
    model = make(family, shape)
    y = torch.arange(8) % 10
    torch.autograd.backward(model.sample_losses(model(images(shape, 8)), y).mean())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@families
def test_overfits_one_batch(family: str) -> None:
    model = make(family)
    x, y = images((1, 8, 8), 16), torch.arange(16) % 10
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = last = math.inf
    for step in range(80):
        optimizer.zero_grad()
        loss = model.sample_losses(model(x), y).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert last < 0.1 * first


@families
@pytest.mark.parametrize("init", ["default", "kaiming_normal"])
def test_same_seed_same_weights(family: str, init: str) -> None:
    before = torch.get_rng_state()
    one, same, other = (make(family, seed=seed, init=init).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


@families
def test_state_dict_round_trip(family: str) -> None:
    one, other = make(family, seed=0).eval(), make(family, seed=1).eval()
    other.load_state_dict(one.state_dict())
    x = images((1, 8, 8))
    assert torch.equal(one(x), other(x))


@families
def test_exports_with_any_batch(family: str) -> None:
    model = make(family).eval()
    program = export(model, (images((1, 8, 8)),), dynamic_shapes={"x": {0: Dim("batch")}}, strict=False)
    x = images((1, 8, 8), 7)
    torch.testing.assert_close(program.module()(x), model(x))


@families
def test_can_be_stacked_and_vmapped(family: str) -> None:
    """A cohort trains many models of one architecture as one: forward and backward must allow it."""
    models = [make(family, seed=seed, dropout=0.1).train() for seed in (0, 1, 2)]
    parameters, buffers = torch.func.stack_module_state([model.network for model in models])
    network = models[0].network
    x = torch.randn(4, 1, 8, 8)

    def loss(parameters: dict[str, Any], buffers: dict[str, Any]) -> torch.Tensor:
        logits: torch.Tensor = torch.func.functional_call(network, (parameters, buffers), (x,))
        return logits.square().mean()

    # Batch norm updates the stacked buffers in place, as in training.
    gradients = torch.func.vmap(torch.func.grad(loss), randomness="different")(parameters, buffers)
    assert all(value.shape[0] == 3 and value.isfinite().all() for value in gradients.values())


@families
def test_every_hyperparameter_is_described(family: str) -> None:
    for name, field in FAMILIES[family].Config.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name


@families
@pytest.mark.parametrize(
    "wrong",
    [
        {"lerning_rate": 0.1},
        {"lr": "0.1"},
        {"lr": 0},
        {"lr": math.nan},
        {"batch_size": 1.5},
        {"optimizer": "adan"},
    ],
    ids=str,
)
def test_refuses_what_it_does_not_know(family: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FAMILIES[family].Config(**wrong)


@families
@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
)
def test_problem_says_whether_it_works(family: str, data: st.DataObject, shape: tuple[int, int, int]) -> None:
    config = FAMILIES[family].Config(**data.draw(architectures(family)))
    spec = DataSpec(shape=shape, classes=3, mean=(0.5,) * shape[0], std=(0.5,) * shape[0], scale=255.0)
    problem = config.problem(shape)
    if problem is None:
        model = FAMILIES[family](config, spec)
        assert model(images(shape, 2)).shape == (2, 3)
    else:
        assert f"{shape[1]}x{shape[2]}" in problem
        smallest = int(problem.rpartition("x")[2])
        assert config.problem((shape[0], smallest, smallest)) is None
        assert smallest == 1 or config.problem((shape[0], smallest - 1, smallest - 1)) is not None
        with pytest.raises(ValueError, match="too small"):
            FAMILIES[family](config, spec)


@families
def test_refuses_the_config_of_another_family(family: str) -> None:
    spec = DataSpec(shape=(1, 8, 8), classes=3, mean=(0.5,), std=(0.5,), scale=255.0)
    with pytest.raises(TypeError, match=f"takes {FAMILIES[family].Config.__name__}, not FamilyConfig"):
        FAMILIES[family](FamilyConfig(), spec)


def test_problem_is_not_mere_caution() -> None:
    """Images that LeNet refuses really do not go through it."""
    spec = DataSpec(shape=(1, 4, 4), classes=3, mean=(0.5,), std=(0.5,), scale=255.0)
    model = FAMILIES["cnn"](CNNConfig(), spec)
    with pytest.raises(RuntimeError):
        model(images((1, 3, 3), 2))


def test_a_family_without_a_table_is_drawn_from_its_own_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.lit_models import architectures as module

    monkeypatch.setattr(module, "SMALL", {})
    for family in FAMILIES:
        fields = module.from_fields(FAMILIES[family].Config)
        own = set(FAMILIES[family].Config.model_fields) - set(FamilyConfig.model_fields)
        floats = {name for name in own if FAMILIES[family].Config.model_fields[name].annotation is float}
        assert set(fields) == own - floats

    @settings(max_examples=5, deadline=None)
    @given(st.data())
    def accepted(data: st.DataObject) -> None:
        assert CNNConfig(**data.draw(module.architectures("cnn"))).channels1 in (1, 2, 3)

    accepted()
