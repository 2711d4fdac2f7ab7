"""The conformance suite: every family in FAMILIES must pass it. A new family inherits it by being listed."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch.export import Dim, export

from lit_models import FAMILIES, FamilyConfig, ImageSpec, LitModel
from lit_models.cnn import CNNConfig
from lit_models.cohort.cost import obstacle, step_cost
from lit_models.cohort.engine import Setting
from lit_models.cohort.lanes import Lane
from lit_models.forms import FORMS
from tests.lit_models.architectures import architectures
from tests.lit_models.cohorts import SMALL
from tests.lit_models.samples import CASES, FUSED, data, examples, family_of, form_of, spec_of

# How far the loss of one batch must fall.
FALL = {"text": 0.5, "pairs": 0.3, "series": 0.2, "graph": 0.2, "graphs": 0.2}

SHAPES = [(1, 8, 8), (3, 32, 32), (2, 9, 13)]
IMAGES = [name for name in sorted(FAMILIES) if "image" in FAMILIES[name].FORMS]
# Those whose losses are of a batch that they are given; the others act in an environment first.
SUPERVISED = [case for case in CASES if form_of(case) != "control"]

families = pytest.mark.parametrize("family", sorted(FAMILIES))
of_images = pytest.mark.parametrize("family", IMAGES)
supervised = pytest.mark.parametrize("case", SUPERVISED)
cases = pytest.mark.parametrize("case", CASES)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def make(family: str, shape: tuple[int, int, int] = (1, 8, 8), seed: int = 0, **settings: Any) -> LitModel:
    """A model of images."""
    channels = shape[0]
    spec = ImageSpec(shape=shape, classes=10, mean=(0.3,) * channels, std=(0.4,) * channels, scale=255.0)
    kind = FAMILIES[family]
    return kind(kind.Config(**settings), spec, seed=seed)


def made(case: str, seed: int = 0, **settings: Any) -> LitModel:
    """A model of the case's sample."""
    kind = FAMILIES[family_of(case)]
    own = {**SMALL.get(family_of(case), {}), **settings}
    config = kind.Config(**{name: value for name, value in own.items() if name in kind.Config.model_fields})
    return kind(config, spec_of(form_of(case)), seed=seed)


def inputs(case: str, count: int) -> torch.Tensor:
    """What a trained model is given."""
    spec = spec_of(form_of(case))
    return spec.example(count) if form_of(case) == "control" else examples(form_of(case), count)[0]


def images(shape: tuple[int, int, int], count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


@of_images
@shapes
def test_maps_raw_pixels_to_logits(family: str, shape: tuple[int, int, int]) -> None:
    model = make(family, shape).eval()
    x = images(shape)
    logits = model(x)
    assert logits.shape == (4, 10)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, model(x.float()))


@of_images
def test_normalises_by_the_spec(family: str) -> None:
    model = make(family).eval()
    x = images((1, 8, 8))
    torch.testing.assert_close(model(x), model.network((x / 255 - 0.3) / 0.4))


@cases
def test_an_example_alone_comes_out_as_among_others(case: str) -> None:
    model = made(case).eval()
    x = inputs(case, 6)
    together = model(x)
    assert len(together) == 6
    torch.testing.assert_close(model(x[2:3]), together[2:3], rtol=1e-4, atol=1e-5)


@supervised
def test_gradient_reaches_every_parameter(case: str) -> None:
    model = made(case)
    x, y = examples(form_of(case), 24)
    torch.autograd.backward(model.training_losses(x, y, 1, None).mean())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@supervised
def test_losses_are_of_each_example_and_add_up(case: str) -> None:
    model = made(case).eval()
    x, y = examples(form_of(case), 12)
    with torch.no_grad():
        assert model.training_losses(x, y, 1, None).shape == (12,)
        halves = model.validation_sums(x[:5], y[:5]) + model.validation_sums(x[5:], y[5:])
        torch.testing.assert_close(model.validation_sums(x, y), halves, rtol=1e-4, atol=1e-5)
    assert 0 <= float(halves[1]) <= 12


@supervised
def test_overfits_one_batch(case: str) -> None:
    """Most of what the loss can fall by falls; what data leave open (a text's first step) stays."""
    model = made(case, dropout=0.0)
    x, y = examples(form_of(case), 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = model.training_losses(x, y, 1, None).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < FALL.get(form_of(case), 0.1) * losses[0]


@cases
@pytest.mark.parametrize("init", ["default", "kaiming_normal"])
def test_same_seed_same_weights(case: str, init: str) -> None:
    before = torch.get_rng_state()
    one, same, other = (made(case, seed=seed, init=init).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


@cases
def test_state_dict_round_trip(case: str, tmp_path: Path) -> None:
    """Through a file, as weights go from search to train to evaluate."""
    one, other = made(case, seed=0).eval(), made(case, seed=1).eval()
    save_file({name: value.contiguous() for name, value in one.state_dict().items()}, tmp_path / "weights")
    other.load_state_dict(load_file(tmp_path / "weights"))
    x = inputs(case, 4)
    assert torch.equal(one(x), other(x))


@cases
def test_exports_with_any_batch(case: str) -> None:
    model = made(case).eval()
    program = export(model, (inputs(case, 4),), dynamic_shapes={"x": {0: Dim("batch")}}, strict=False)
    x = inputs(case, 7)
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("case", FUSED)
def test_can_be_fused(case: str) -> None:
    """A cohort trains many models of one architecture as one; who cannot be says why in ALONE."""
    kind = FAMILIES[family_of(case)]
    lanes = [Lane(n, made(case, dropout=0.1 * n).config, n) for n in range(3)]
    assert obstacle(lanes, Setting(kind, data(form_of(case)), 5)) == ""


@cases
def test_a_step_is_counted_without_computing(case: str) -> None:
    kind = FAMILIES[family_of(case)]
    cost = step_cost(kind, made(case).config, spec_of(form_of(case)), samples=10)
    assert cost.bytes > 0
    assert cost.flops > 0


@families
def test_a_family_alone_says_why(family: str) -> None:
    """In part of a sentence, for what is printed goes on from there."""
    alone = FAMILIES[family].ALONE
    assert "\n" not in alone
    assert alone[:1].islower() or not alone


@cases
def test_refuses_data_of_another_form(case: str) -> None:
    kind = FAMILIES[family_of(case)]
    other = next(form for form in FORMS if form not in kind.FORMS)
    with pytest.raises(ValueError, match=f"form {other}"):
        kind(kind.Config(), spec_of(other))


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


@of_images
@settings(max_examples=25, deadline=None)
@given(
    draws=st.data(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
)
def test_problem_says_whether_it_works(family: str, draws: st.DataObject, shape: tuple[int, int, int]) -> None:
    config = FAMILIES[family].Config(**draws.draw(architectures(family)))
    spec = ImageSpec(shape=shape, classes=3, mean=(0.5,) * shape[0], std=(0.5,) * shape[0], scale=255.0)
    problem = config.problem(spec)
    if problem is None:
        model = FAMILIES[family](config, spec)
        assert model(images(shape, 2)).shape == (2, 3)
    else:
        assert f"{shape[1]}x{shape[2]}" in problem
        smallest = int(problem.rpartition("x")[2])
        assert config.problem(replace(spec, shape=(shape[0], smallest, smallest))) is None
        assert smallest == 1 or config.problem(replace(spec, shape=(shape[0], smallest - 1, smallest - 1)))
        with pytest.raises(ValueError, match="too small"):
            FAMILIES[family](config, spec)


@families
def test_refuses_the_config_of_another_family(family: str) -> None:
    spec = spec_of(FAMILIES[family].FORMS[0])
    with pytest.raises(TypeError, match=f"takes {FAMILIES[family].Config.__name__}, not FamilyConfig"):
        FAMILIES[family](FamilyConfig(), spec)


def test_problem_is_not_mere_caution() -> None:
    """Images that LeNet refuses really do not go through it."""
    spec = ImageSpec(shape=(1, 4, 4), classes=3, mean=(0.5,), std=(0.5,), scale=255.0)
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
