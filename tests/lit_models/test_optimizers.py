"""Each optimizer against its textbook update, each schedule against its curve."""

import math

import pytest
import torch
from torch import Tensor, nn

from lit_models.core.config import FamilyConfig
from lit_models.core.optim import OPTIMIZERS, SCHEDULES, build_optimizer, build_schedule, lr_factor

LR, MOMENTUM, DECAY = 0.1, 0.8, 0.02


def sgd(w: Tensor, g: Tensor, state: dict[str, Tensor], t: int) -> Tensor:
    return w - LR * (g + DECAY * w)


def momentum(w: Tensor, g: Tensor, state: dict[str, Tensor], t: int) -> Tensor:
    state["v"] = MOMENTUM * state.get("v", torch.zeros_like(w)) + g + DECAY * w
    return w - LR * state["v"]


def nesterov(w: Tensor, g: Tensor, state: dict[str, Tensor], t: int) -> Tensor:
    g = g + DECAY * w
    state["v"] = MOMENTUM * state.get("v", torch.zeros_like(w)) + g
    return w - LR * (g + MOMENTUM * state["v"])


def _adam_step(g: Tensor, state: dict[str, Tensor], t: int) -> Tensor:
    state["m"] = 0.9 * state.get("m", torch.zeros_like(g)) + 0.1 * g
    state["v"] = 0.999 * state.get("v", torch.zeros_like(g)) + 0.001 * g**2
    return LR * (state["m"] / (1 - 0.9**t)) / ((state["v"] / (1 - 0.999**t)).sqrt() + 1e-8)


def adam(w: Tensor, g: Tensor, state: dict[str, Tensor], t: int) -> Tensor:
    return w - _adam_step(g + DECAY * w, state, t)


def adamw(w: Tensor, g: Tensor, state: dict[str, Tensor], t: int) -> Tensor:
    return w - LR * DECAY * w - _adam_step(g, state, t)


def rmsprop(w: Tensor, g: Tensor, state: dict[str, Tensor], t: int) -> Tensor:
    g = g + DECAY * w
    state["v"] = 0.99 * state.get("v", torch.zeros_like(w)) + 0.01 * g**2
    return w - LR * g / (state["v"].sqrt() + 1e-8)


def adagrad(w: Tensor, g: Tensor, state: dict[str, Tensor], t: int) -> Tensor:
    g = g + DECAY * w
    state["v"] = state.get("v", torch.zeros_like(w)) + g**2
    return w - LR * g / (state["v"].sqrt() + 1e-10)


TEXTBOOK = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_update_is_the_textbooks(name: str) -> None:
    config = FamilyConfig.model_validate({"optimizer": name, "lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY})
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.randn(7, dtype=torch.float64, generator=generator))
    expected, state = parameter.detach().clone(), dict[str, Tensor]()
    optimizer = build_optimizer([parameter], config)
    for t in range(1, 7):
        parameter.grad = torch.randn(7, dtype=torch.float64, generator=generator)
        expected = TEXTBOOK[name](expected, parameter.grad, state, t)
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-9, atol=1e-9)


def test_tables_are_those_of_the_config() -> None:
    properties = FamilyConfig.model_json_schema()["properties"]
    assert set(properties["optimizer"]["enum"]) == set(OPTIMIZERS)
    assert set(properties["schedule"]["enum"]) == set(SCHEDULES)


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adamw"])
def test_weight_decay_shrinks(name: str) -> None:
    norms = []
    for decay in (0.0, 0.1, 1.0):
        config = FamilyConfig.model_validate({"optimizer": name, "lr": 0.01, "weight_decay": decay})
        parameter = nn.Parameter(torch.ones(5))
        optimizer = build_optimizer([parameter], config)
        for _ in range(10):
            parameter.grad = torch.zeros(5)
            optimizer.step()
        norms.append(parameter.norm().item())
    assert norms[0] == pytest.approx(5**0.5)
    assert norms[0] > norms[1] > norms[2]


def curve(schedule: str, total: int = 100, epochs: int = 10, warmup_epochs: int = 2) -> list[float]:
    config = FamilyConfig.model_validate({"schedule": schedule, "lr": 2.0, "warmup_epochs": warmup_epochs})
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=config.lr)
    scheduler = build_schedule(optimizer, config, total, epochs)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"] / config.lr)
        optimizer.step()
        scheduler.step()
    return rates


def test_constant() -> None:
    assert set(curve("constant")) == {1.0}


def test_cosine() -> None:
    rates = curve("cosine")
    assert rates == pytest.approx([0.5 * (1 + math.cos(math.pi * t / 100)) for t in range(100)])


def test_step() -> None:
    rates = curve("step")
    assert rates == pytest.approx([1.0] * 50 + [0.1] * 25 + [0.01] * 25)


def test_one_cycle() -> None:
    rates = curve("one_cycle")
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[30] == pytest.approx(1)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[65] == pytest.approx(0.5, abs=1e-4)
    assert rates[-1] < 1e-2


def test_one_cycle_is_torchs() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch counts to the last step, we to the end of it.
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=101, cycle_momentum=False)
    for rate in curve("one_cycle"):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=0.04)
        optimizer.step()
        theirs.step()


def test_warmup() -> None:
    rates = curve("warmup")
    assert rates[:20] == pytest.approx([(t + 1) / 20 for t in range(20)])
    assert set(rates[20:]) == {1.0}
    assert set(curve("warmup", warmup_epochs=0)) == {1.0}
    assert curve("warmup", warmup_epochs=99)[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_factor_stays_between_nought_and_one(name: str) -> None:
    config = FamilyConfig.model_validate({"schedule": name})
    for total in (1, 2, 7, 1000):
        assert all(0 <= lr_factor(config, done, total, epochs=1) <= 1 for done in range(total))
        assert lr_factor(config, 0, total, epochs=1) > 0
