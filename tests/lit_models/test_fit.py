"""The train entry: accuracy, early stopping, divergence, resuming, signals."""

import copy
import math
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim

from lit_models import FAMILIES, LitModel
from lit_models.cnn import CNNConfig
from lit_models.core.config import FamilyConfig
from lit_models.core.data import PreparedData
from lit_models.epochs import CHECKPOINT
from lit_models.fit import EpochResult, FitResult, fit
from lit_models.mlp import LitMLP, MLPConfig
from lit_models.resnet import ResNetConfig

ROOT = Path(__file__).resolve().parents[2]


def fresh(folder: Path, family: str, config: FamilyConfig) -> tuple[LitModel, PreparedData]:
    data = PreparedData(folder, None, config, seed=1)
    return FAMILIES[family](config, data.spec, seed=2), data


def timeless(result: FitResult) -> list[EpochResult]:
    return [replace(epoch, seconds=0.0) for epoch in result.history]


def test_cnn_learns_digits(digits: Path) -> None:
    model, data = fresh(digits, "cnn", CNNConfig(lr=3e-3))
    result = fit(model, data, epochs=10, seed=0)
    assert result.stopped == "finished"
    assert [epoch.epoch for epoch in result.history] == list(range(1, 11))
    accuracy = result.history[-1].val_accuracy
    assert accuracy is not None
    assert accuracy > 0.95
    assert result.history[-1].train_loss < result.history[0].train_loss
    assert not model.training


def test_figures_are_those_of_the_weights(few_digits: Path) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig())
    last = fit(model, data, epochs=2, seed=0).history[-1]
    assert data.val is not None
    logits = model(data.val.x)
    loss = torch.nn.functional.cross_entropy(logits, data.val.y)
    assert last.val_loss == pytest.approx(loss.item(), rel=1e-5)
    assert last.val_accuracy == pytest.approx((logits.argmax(1) == data.val.y).float().mean().item())


def test_same_seed_same_run_other_seed_another(few_digits: Path) -> None:
    config = MLPConfig(dropout=0.3, augment_strength=1.0, mixup=0.2)
    runs = []
    for seed in (0, 0, 1):
        model, data = fresh(few_digits, "mlp", config)
        runs.append(timeless(fit(model, data, epochs=2, seed=seed)))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_nothing_is_left_behind(few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    model, data = fresh(few_digits, "mlp", MLPConfig())
    before = torch.get_rng_state()
    fit(model, data, epochs=1, seed=0)
    assert list((tmp_path / "cwd").iterdir()) == []
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_said(few_digits: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig())
    fit(model, data, epochs=1, seed=0)
    assert capfd.readouterr() == ("", "")


def test_a_trained_model_is_free_of_its_training(few_digits: Path) -> None:
    model, data = fresh(few_digits, "cnn", CNNConfig(sampling="hard"))
    fit(model, data, epochs=1, seed=0)
    x = data.train.x[:3]
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert torch.equal(copied(x), model(x))
    program = torch.export.export(model, (x,), dynamic_shapes={"x": {0: Dim("batch")}})
    torch.testing.assert_close(program.module()(data.train.x[:5]), model(data.train.x[:5]))


def test_progress_shows_a_bar_on_stderr(few_digits: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig())
    fit(model, data, epochs=2, seed=0, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch/s" in err


def test_early_stopping_restores_the_best_epoch(few_digits: Path) -> None:
    # A large constant rate overfits a hundred samples within a few epochs.
    config = MLPConfig(lr=0.03, schedule="constant")
    states = {}
    model, data = fresh(few_digits, "mlp", config)

    def keep(epoch: EpochResult) -> None:
        states[epoch.epoch] = {name: value.clone() for name, value in model.state_dict().items()}

    result = fit(model, data, epochs=100, seed=0, patience=3, on_epoch=keep)
    losses = [epoch.val_loss for epoch in result.history if epoch.val_loss is not None]
    assert result.stopped == "early"
    assert result.best_epoch == 1 + losses.index(min(losses))
    assert len(losses) == result.best_epoch + 3
    for name, value in model.state_dict().items():
        assert torch.equal(value, states[result.best_epoch][name])


def test_patience_needs_something_to_validate_on(few_digits: Path) -> None:
    config = MLPConfig()
    data = PreparedData(few_digits, None, config, seed=0, fit_on="train+val")
    model = LitMLP(config, data.spec)
    with pytest.raises(ValueError, match="patience"):
        fit(model, data, epochs=1, seed=0, patience=1)
    result = fit(model, data, epochs=2, seed=0)
    assert result.history[-1].val_loss is None
    assert result.best_epoch == 2


def test_stops_when_asked(few_digits: Path) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig())
    result = fit(model, data, epochs=9, seed=0, on_epoch=lambda epoch: epoch.epoch == 3)
    assert (result.stopped, len(result.history)) == ("asked", 3)


def test_divergence_is_noticed(few_digits: Path) -> None:
    model, data = fresh(few_digits, "cnn", CNNConfig(optimizer="momentum", lr=10.0, weight_decay=10.0))
    result = fit(model, data, epochs=50, seed=0)
    assert result.stopped == "diverged"
    assert not math.isfinite(result.history[-1].train_loss + (result.history[-1].val_loss or 0))


def test_learning_rate_follows_the_schedule(few_digits: Path) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig(lr=0.5, schedule="step", optimizer="sgd"))
    rates = [epoch.lr for epoch in fit(model, data, epochs=8, seed=0).history]
    assert rates == pytest.approx([0.5] * 4 + [0.05] * 2 + [0.005] * 2)


@pytest.mark.parametrize(
    "trick",
    [
        {"augment_strength": 1.0},
        {"mixup": 1.0},
        {"cutmix": 1.0},
        {"label_smoothing": 0.3},
        {"dropout": 0.5},
        {"gradient_clip": 1e-3, "optimizer": "sgd"},
        {"sampling": "hard"},
        {"sampling": "balanced"},
        {"weight_decay": 1.0},
    ],
    ids=lambda trick: next(iter(trick)),
)
def test_every_trick_takes_part_in_training(few_digits: Path, trick: dict[str, Any]) -> None:
    plain = {"optimizer": trick.get("optimizer", "adamw")}
    losses = []
    for settings in (plain, {**plain, **trick}):
        model, data = fresh(few_digits, "mlp", MLPConfig.model_validate(settings))
        losses.append(fit(model, data, epochs=2, seed=0).history[-1].train_loss)
    assert abs(losses[0] - losses[1]) > 1e-3


def test_gradient_clip_bounds_the_step(few_digits: Path) -> None:
    config = MLPConfig(optimizer="sgd", lr=1.0, schedule="constant", gradient_clip=1e-3, batch_size=100)
    model, data = fresh(few_digits, "mlp", config)
    before = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    fit(model, data, epochs=1, seed=0)  # one epoch is one step
    after = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    assert (after - before).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_hard_sampler_hears_the_losses(few_digits: Path) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig(sampling="hard"))
    fit(model, data, epochs=3, seed=0)
    average = data.state_dict()["average"]
    assert torch.unique(average).numel() > 50
    assert average.min() < 2.0 < 2.5 < average.max()


class Killed(BaseException):
    """Stands for a kill: leaves `fit` without its doing anything about it."""


TRICKS: list[tuple[str, FamilyConfig]] = [
    ("mlp", MLPConfig(sampling="hard", dropout=0.3, augment_strength=1.0, mixup=0.4, batch_norm=True)),
    ("cnn", CNNConfig(sampling="balanced", augment_strength=0.5, augment_erase=0.3, cutmix=1.0)),
    ("resnet", ResNetConfig(width=4, stochastic_depth=0.5, optimizer="nesterov", schedule="one_cycle")),
]


@pytest.mark.parametrize(("family", "config"), TRICKS)
@pytest.mark.parametrize("patience", [None, 2])
def test_resume_is_exact(
    few_digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    config: FamilyConfig,
    patience: int | None,
) -> None:
    monkeypatch.setattr("lit_models.epochs.CHECKPOINT_SECONDS", 0.0)
    model, data = fresh(few_digits, family, config)
    whole = fit(model, data, epochs=5, seed=3, patience=patience)

    def die_in(epoch: int) -> None:
        def on_epoch(result: EpochResult) -> None:
            if result.epoch == epoch:
                raise Killed

        torn, torn_data = fresh(few_digits, family, config)
        with pytest.raises(Killed):
            fit(
                torn,
                torn_data,
                epochs=5,
                seed=3,
                patience=patience,
                on_epoch=on_epoch,
                checkpoint_dir=tmp_path / "c",
            )

    die_in(2)  # epoch 1 is saved, epoch 2 lost
    die_in(4)
    again, again_data = fresh(few_digits, family, config)
    resumed = fit(again, again_data, epochs=5, seed=3, patience=patience, checkpoint_dir=tmp_path / "c")
    assert timeless(resumed) == timeless(whole)
    assert (resumed.best_epoch, resumed.stopped) == (whole.best_epoch, whole.stopped)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_resume_remembers_a_best_epoch_before_the_kill(
    few_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_models.epochs.CHECKPOINT_SECONDS", 0.0)
    config = MLPConfig(lr=0.03, schedule="constant")
    model, data = fresh(few_digits, "mlp", config)
    whole = fit(model, data, epochs=100, seed=0, patience=4)
    assert whole.stopped == "early"

    def on_epoch(result: EpochResult) -> None:
        if result.epoch == whole.best_epoch + 3:
            raise Killed

    torn, torn_data = fresh(few_digits, "mlp", config)
    with pytest.raises(Killed):
        fit(torn, torn_data, epochs=100, seed=0, patience=4, on_epoch=on_epoch, checkpoint_dir=tmp_path / "c")
    for _ in range(2):  # the second time, from a checkpoint of a run that has ended
        again, again_data = fresh(few_digits, "mlp", config)
        resumed = fit(again, again_data, epochs=100, seed=0, patience=4, checkpoint_dir=tmp_path / "c")
        assert timeless(resumed) == timeless(whole)
        assert (resumed.best_epoch, resumed.stopped) == (whole.best_epoch, "early")
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_finished_run_is_not_run_again(few_digits: Path, tmp_path: Path) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig())
    done = fit(model, data, epochs=2, seed=0, checkpoint_dir=tmp_path / "c")
    assert [path.name for path in (tmp_path / "c").iterdir()] == [CHECKPOINT]
    again, data = fresh(few_digits, "mlp", MLPConfig())
    result = fit(
        again,
        data,
        epochs=2,
        seed=0,
        checkpoint_dir=tmp_path / "c",
        on_epoch=lambda _: pytest.fail("trained again"),
    )
    assert result == done
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_checkpoint_of_another_run_is_refused(few_digits: Path, tmp_path: Path) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig())
    fit(model, data, epochs=1, seed=0, checkpoint_dir=tmp_path)
    other, data = fresh(few_digits, "mlp", MLPConfig(lr=0.5))
    with pytest.raises(ValueError, match=r"of another run: its config .*lr.*0\.5"):
        fit(other, data, epochs=1, seed=0, checkpoint_dir=tmp_path)


def test_keyboard_interrupt_stays_one(few_digits: Path) -> None:
    model, data = fresh(few_digits, "mlp", MLPConfig())

    def interrupt(_: EpochResult) -> None:
        signal.raise_signal(signal.SIGINT)

    # A shell starts what runs in its background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(model, data, epochs=50, seed=0, on_epoch=interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


SCRIPT = """
import sys, torch
from pathlib import Path
import lit_models.epochs
from lit_models.cnn import CNNConfig, LitCNN
from lit_models.core.data import PreparedData
from lit_models.fit import fit
torch.set_num_threads(1)
lit_models.epochs.CHECKPOINT_SECONDS = 0.0
config = CNNConfig(dropout=0.2, augment_strength=1.0)
data = PreparedData(Path(sys.argv[1]), None, config, seed=1)
model = LitCNN(config, data.spec, seed=2)
fit(model, data, epochs=int(sys.argv[3]), seed=3, checkpoint_dir=Path(sys.argv[2]),
    on_epoch=lambda e: print(e.epoch, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_killed_from_outside(few_digits: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-c", SCRIPT, str(few_digits), str(tmp_path / "c"), "40"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "5":
                process.send_signal(number)
                break
        process.stdout.read()
        assert process.wait() == code
    config = CNNConfig(dropout=0.2, augment_strength=1.0)
    torn, torn_data = fresh(few_digits, "cnn", config)
    told: list[int] = []
    resumed = fit(
        torn,
        torn_data,
        epochs=40,
        seed=3,
        checkpoint_dir=tmp_path / "c",
        on_epoch=lambda epoch: told.append(epoch.epoch),
    )
    assert 4 <= told[0] < 40
    model, data = fresh(few_digits, "cnn", config)
    whole = fit(model, data, epochs=40, seed=3)
    assert timeless(resumed) == timeless(whole)
    assert all(torch.equal(value, torn.state_dict()[name]) for name, value in model.state_dict().items())
