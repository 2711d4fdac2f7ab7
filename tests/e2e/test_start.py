"""What `train.start` takes over from the search: its winner's weights to begin with, or to keep as they are."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from lit_models import FAMILIES
from lit_models.core.data import read_split
from lit_models.forms import load_spec
from tests.e2e.conftest import Checkout
from tests.e2e.test_search import SEARCH, trials

pytestmark = pytest.mark.slow

FIGURES = ("train_loss", "val_loss", "val_accuracy")


def epochs(model: Path) -> list[dict[str, float]]:
    """The rows of a trained model's history."""
    with (model / "history.csv").open(newline="") as file:
        return [{name: float(row[name]) for name in FIGURES} for row in csv.DictReader(file)]


def validation_loss(model: Path, prepared: Path) -> float:
    """What the weights of a trained model reach on the validation part, computed here."""
    card = json.loads((model / "model.json").read_text())
    family = FAMILIES[card["family"]]
    network = family(family.Config.model_validate_json(json.dumps(card["hyperparameters"])), load_spec(prepared))
    network.load_state_dict(load_file(model / "weights.safetensors"))
    x, y = read_split(prepared / "val.safetensors", network.spec)
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(network.eval()(x), y).item()


def test_training_begins_with_the_winners_weights_or_keeps_them(checkout: Checkout) -> None:
    model, search = checkout.root / "models" / "digits-mlp", checkout.root / "results" / "digits-mlp" / "search"
    from_scratch = epochs(model)
    (best,) = [
        row for row in trials(checkout) if row["trial"] == json.loads((model / "model.json").read_text())["trial"]
    ]
    rows = pq.read_table(search / "history.parquet", filters=[("trial", "==", best["trial"])]).to_pylist()
    reached = [{name: row[name] for name in FIGURES} for row in rows]

    checkout.edit("train: {epochs: 3}", "train: {epochs: 3, start: winner}")
    checkout.stage("train", "digits-mlp")
    first = epochs(model)[0]
    assert len(epochs(model)) == 3
    assert first["val_loss"] < 0.8 * reached[-1]["val_loss"], "it goes on where the trial ended"
    assert first["val_loss"] < 0.8 * from_scratch[0]["val_loss"]

    checkout.edit("start: winner", "start: reuse")
    said = checkout.stage("train", "digits-mlp")
    assert f"{len(reached)} epochs in 0.0 s" in said
    assert epochs(model) == [pytest.approx(row, rel=1e-6) for row in reached]
    kept, winner = load_file(model / "weights.safetensors"), load_file(search / "winner.safetensors")
    assert kept.keys() == winner.keys()
    assert all(torch.equal(kept[name], winner[name]) for name in kept)
    prepared = checkout.root / "data" / "prepared" / "digits"
    assert validation_loss(model, prepared) == pytest.approx(reached[-1]["val_loss"], rel=1e-4)
    events = [json.loads(line) for line in (model / "journal.jsonl").read_text().splitlines()]
    steps = [event["step"] for event in events if event["event"] == "metrics" and "lr" in event["metrics"]]
    assert steps == list(range(1, len(reached) + 1))
    checkout.stage("evaluate", "digits-mlp")


def test_a_winner_that_was_stopped_early_left_no_weights_which_is_one_sentence(checkout: Checkout) -> None:
    """The first trial begins better than the other ever gets, and has run wild when the rung looks at it."""
    checkout.edit(
        SEARCH,
        "search: {algorithm: grid, scheduler: halving, eta: 2, rungs: [2], epochs: 3, metric: val_loss,"
        " space: {lr: {choice: [0.3, 0.003]}}}",
    )
    wild = "optimizer: momentum, momentum: 0.98, schedule: constant, warmup_epochs: 2"
    checkout.edit("model: {hidden: 32}", f"model: {{hidden: 32, {wild}}}")
    checkout.stage("search", "digits-mlp")
    first, second = trials(checkout)
    assert (first["status"], second["status"]) == ("stopped", "finished")
    assert first["val_loss"] < second["val_loss"]
    before = (checkout.root / "models" / "digits-mlp" / "weights.safetensors").read_bytes()
    for start in ("winner", "reuse"):
        checkout.edit("train: {epochs: 3", f"train: {{start: {start}, epochs: 3")
        said = checkout.stage("train", "digits-mlp", code=1)
        assert "train@digits-mlp: the search has no weights of its winner, which was stopped early" in said
        assert "set train.start: scratch" in said
        assert "Traceback" not in said
        checkout.edit(f"start: {start}, ", "")
    assert (checkout.root / "models" / "digits-mlp" / "weights.safetensors").read_bytes() == before
