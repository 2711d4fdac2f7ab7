"""Fused equals lone, in float64, for every family: a family listed in FAMILIES is proved by being listed."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_models import FAMILIES
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lanes import signature
from lit_models.cohort.lone import LoneEngine
from lit_models.cohort.vector_optim import UPDATES, VectorOptimizer
from lit_models.core.config import FamilyConfig
from lit_models.core.optim import build_optimizer
from tests.lit_models.architectures import architectures
from tests.lit_models.cohorts import difference, lanes, setting
from tests.lit_models.samples import FUSED, family_of, form_of, spec_of

TOLERANCE = 1e-8
EPOCHS = 5  # of 6 steps: 30 in all
OPTIMIZERS = list(UPDATES)
SCHEDULES = ("constant", "cosine", "step", "one_cycle", "warmup")
# Each trick, strongest in the first lane; the third lane does without.
TRICKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropout": 0.4},
    "batch_norm": {"batch_norm": True, "dropout": 0.2},
    "stochastic_depth": {"stochastic_depth": 0.5},
    "smoothing_and_clip": {"label_smoothing": 0.2, "gradient_clip": 0.5, "weight_decay": 0.1},
    "augmentation": {"augment_strength": 1.0, "augment_flip": True, "augment_erase": 0.5, "augment_jitter": 0.3},
    "mixing": {"mixup": 0.5, "cutmix": 0.5},
    "hard": {"sampling": "hard", "dropout": 0.1},
    "balanced": {"sampling": "balanced", "augment_strength": 0.5},
    "token_dropout": {"token_dropout": 0.3},
    "edge_dropout": {"edge_dropout": 0.3},
}
# What makes a trick one, where a family lacks some of what goes with it.
ESSENCE = {"augmentation": "augment_strength", "mixing": "mixup", "smoothing_and_clip": "gradient_clip"}


def does(case: str, trick: str) -> bool:
    """Whether a family has a trick, and its data allow it."""
    if trick == "plain":
        return True
    kind = FAMILIES[family_of(case)].Config
    names = [ESSENCE.get(trick, trick), *TRICKS[trick]]
    essence = next(name for name in names if name in TRICKS[trick])
    if essence not in kind.model_fields:
        return False
    lane = lanes(case, [TRICKS[trick]])[0]
    return not lane.config.problem(spec_of(form_of(case)))


FULL = [(case, optimizer, trick) for case in FUSED for trick in TRICKS if does(case, trick) for optimizer in OPTIMIZERS]
Triple = tuple[str, str, str]


def pairs(triple: Triple) -> set[tuple[int, int, str, str]]:
    """Which pairs of choices a proof covers."""
    return {(i, j, triple[i], triple[j]) for i in range(3) for j in range(i + 1, 3)}


def pairwise(triples: list[Triple]) -> list[Triple]:
    """Choose few triples, greedily, in which every pair of choices comes up."""
    missing = set().union(*map(pairs, triples))
    chosen = []
    while missing:
        chosen.append(max(triples, key=lambda triple: len(missing & pairs(triple))))
        missing -= pairs(chosen[-1])
    return chosen


SAMPLE = pairwise(FULL)


def test_the_sample_covers_every_pair() -> None:
    assert set().union(*map(pairs, SAMPLE)) == set().union(*map(pairs, FULL))
    assert len(SAMPLE) < len(FULL) / 2


def prove(family: str, optimizer: str, trick: str) -> None:
    """Train three lanes with one optimizer, and one with another, fused and alone, and compare all."""
    weights = (1.0, 0.5, 0.0)
    configs: list[dict[str, Any]] = [
        {"optimizer": optimizer, "lr": 0.002 * (n + 1), "schedule": SCHEDULES[(len(trick) + n) % 5], "momentum": 0.8}
        | {name: value * w if isinstance(value, float) else value for name, value in TRICKS[trick].items()}
        for n, w in enumerate(weights)
    ]
    configs.append({**configs[0], "optimizer": OPTIMIZERS[(OPTIMIZERS.index(optimizer) + 3) % len(OPTIMIZERS)]})
    cohort = lanes(family, configs)
    fused, lone = FusedEngine(cohort, setting(family)), LoneEngine(cohort, setting(family))
    for epoch in range(EPOCHS):
        ours, theirs = fused.run_epoch(epoch), lone.run_epoch(epoch)
        for trial, figures in theirs.items():
            assert ours[trial].train_loss == pytest.approx(figures.train_loss, rel=TOLERANCE)
            assert ours[trial].val_loss == pytest.approx(figures.val_loss, rel=TOLERANCE)
            assert ours[trial].val_accuracy == figures.val_accuracy
            assert ours[trial].lr == pytest.approx(figures.lr, rel=1e-12)
    for lane in cohort:
        assert difference(fused, lone, lane.trial) <= TOLERANCE


@pytest.mark.parametrize(("family", "optimizer", "trick"), SAMPLE)
def test_fused_equals_lone(family: str, optimizer: str, trick: str) -> None:
    prove(family, optimizer, trick)


@pytest.mark.matrix
@pytest.mark.parametrize(("family", "optimizer", "trick"), FULL)
def test_fused_equals_lone_in_full(family: str, optimizer: str, trick: str) -> None:
    prove(family, optimizer, trick)


@pytest.mark.parametrize("family", FUSED)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_fused_equals_lone_for_random_architectures(family: str, data: st.DataObject) -> None:
    shared = {**data.draw(architectures(family_of(family))), "batch_size": 8, "optimizer": "adamw"}
    if FAMILIES[family_of(family)].Config(**shared).problem(spec_of(form_of(family))):
        return
    cohort = lanes(family, [{**shared, "dropout": rate, "lr": 0.001 + rate / 100} for rate in (0.0, 0.1, 0.3)])
    fused, lone = FusedEngine(cohort, setting(family)), LoneEngine(cohort, setting(family))
    fused.run_epoch(0)
    lone.run_epoch(0)
    assert max(difference(fused, lone, lane.trial) for lane in cohort) <= TOLERANCE


@pytest.mark.parametrize("family", FUSED)
def test_numbers_change_no_shapes_and_shapes_change_the_signature(family: str) -> None:
    kind = FAMILIES[family_of(family)].Config
    floats = [name for name, field in kind.model_fields.items() if field.annotation is float]
    cohort = lanes(family, [{}, dict.fromkeys(floats, 0.01), {"batch_size": 4}])
    networks = [FAMILIES[family_of(family)](lane.config, setting(family).data.spec).network for lane in cohort]
    shapes = [[(n, p.shape) for n, p in network.named_parameters()] for network in networks]
    assert shapes[0] == shapes[1]
    signatures = [signature(family_of(family), lane.config) for lane in cohort]
    assert signatures[0] == signatures[1] != signatures[2]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("chunk", [1 << 16, 5])
def test_vector_optimizers_are_torch_s(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit_models.cohort.vector_optim.CHUNK", chunk)
    configs = [
        FamilyConfig(optimizer=name, lr=0.01 * (n + 1), weight_decay=0.1 * n, momentum=0.5 + 0.1 * n) for n in range(3)
    ]
    weights = torch.randn(3, 12, dtype=torch.float64)
    alone = [torch.nn.Parameter(row.clone()) for row in weights]
    optimizers = [build_optimizer([p], config) for p, config in zip(alone, configs, strict=True)]
    vector = VectorOptimizer(configs, weights)
    for _ in range(6):
        gradients = torch.randn(3, 12, dtype=torch.float64)
        for parameter, optimizer, gradient in zip(alone, optimizers, gradients, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
        vector.step(gradients.clone(), torch.tensor([config.lr for config in configs], dtype=torch.float64))
    torch.testing.assert_close(vector.weights, torch.stack([p.detach() for p in alone]), rtol=1e-10, atol=1e-12)
