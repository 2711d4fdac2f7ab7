"""Evaluations of sequences: scores beside baselines, and pictures of what a model has to tell."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_models import FAMILIES
from lit_models.core.base import LitModel
from lit_models.specs.sequence import SeriesSpec, TokenSpec
from pipelines.evaluations import classification, logos, reading
from pipelines.evaluations.base import Task
from pipelines.evaluations.curves import learning_curves
from pipelines.evaluations.lettering import drawable, label, plain, short
from pipelines.evaluations.sequence_pictures import Passage, evolution, heads, passages
from pipelines.evaluations.series import SERIES, SeriesEvaluateConfig, baseline, scores
from pipelines.evaluations.tokens import TOKENS, TokensEvaluateConfig, names
from pipelines.formats.prepared import write_part
from pipelines.headlines import HEADLINES

HISTORY = "epoch,train_loss,val_loss,val_accuracy\n1,1.2,1.3,0.4\n2,1.0,1.1,0.5\n"
WORDS = ["", "<unknown>", "the", "sun", "is", "$5", "日", " ", "A", "C", "G", "T"]


def task_of(model: LitModel, x: Tensor, y: Tensor, card: dict[str, Any], folder: Path) -> Task:
    (folder / "history.csv").write_text(HISTORY)
    task = Task(model.eval(), x, y, card, folder, folder, folder / "plots")
    for made in (task.pictures, task.tables, task.confusion):
        made.mkdir(parents=True)
    write_part(folder, "test", {"x": x.numpy(), "y": y.numpy(), "index": np.arange(len(y), dtype=np.int64)})
    return task


def token_task(family: str, folder: Path, vocabulary: list[str] = WORDS, **config: Any) -> Task:
    classes = ["one", "$two", "日"]
    torch.manual_seed(0)
    x = torch.randint(1, len(vocabulary), (30, 16), dtype=torch.int32)
    x[:10, 9:] = 0
    y = torch.arange(30) % 3
    made = FAMILIES[family]
    model = made(made.Config(**config), TokenSpec(len(vocabulary), 16, 3))
    counts = {"train": {"one": 5, "$two": 9, "日": 2}}
    return task_of(model, x, y, {"vocabulary": vocabulary, "classes": classes, "counts": counts}, folder)


def series_task(folder: Path, time: dict[str, Any] | None = None, **config: Any) -> Task:
    torch.manual_seed(0)
    x, y = torch.randn(40, 12, 2), torch.randn(40, 2)
    statistics: dict[str, Any] = {
        name: (value,) * 2 for name in ("mean", "target_mean", "std", "target_std") for value in [1.0 * ("std" in name)]
    }
    spec = SeriesSpec(length=12, features=2, targets=2, tolerance=0.5, **statistics)
    model = FAMILIES["rnn"](FAMILIES["rnn"].Config(**config), spec)
    card = {"features": ["a", "$b 日"], "targets": ["a", "$b 日"], "tolerance": 0.5, **statistics}
    card |= {"baseline": {"name": "last value", "columns": [0, 1]}} | ({"time": time} if time else {})
    return task_of(model, x, y, card, folder)


def pictures(task: Task) -> set[str]:
    found = sorted(task.pictures.iterdir())
    assert all(path.stat().st_size > 2000 for path in found)
    return {path.stem for path in found}


# --- what classifiers share ---------------------------------------------------------------------------------------


def test_the_baseline_answers_the_class_that_is_most_frequent_in_training() -> None:
    card = {"counts": {"train": {"a": 3, "b": 7, "c": 1}, "test": {"a": 9, "b": 1, "c": 0}}}
    assert classification.most_frequent(card, torch.tensor([0, 1, 1, 2])) == 0.5


def test_the_surest_mistakes_come_first() -> None:
    logits = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0], [4.0, 0.0]])
    found = classification.surest_mistakes(logits, torch.tensor([1, 0, 0, 1]), 2)
    assert [(m.position, m.actual, m.predicted) for m in found] == [(3, 1, 0), (2, 0, 1)]
    assert found[0].sure == pytest.approx(float(logits[3].softmax(0)[0]))


def test_confusion_is_a_table_of_names(tmp_path: Path) -> None:
    y, predicted = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])
    classification.confusion(y, predicted, ["日", "a, b"], tmp_path / "a.csv", tmp_path / "a.png")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["actual", "predicted"], ["日", "日"], ["a, b", "a, b"], ["a, b", "日"]]


@pytest.mark.parametrize("history", [HISTORY, "epoch,train_loss,val_loss,val_accuracy\n1,1.2,,\n"])
def test_learning_curves_are_drawn_with_and_without_validation(history: str, tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text(history)
    learning_curves(tmp_path / "history.csv", tmp_path / "a.csv", tmp_path / "a.png")
    assert (tmp_path / "a.csv").read_text() == history
    assert (tmp_path / "a.png").stat().st_size > 2000


# --- series -------------------------------------------------------------------------------------------------------


def test_errors_are_scored_in_the_targets_units() -> None:
    actual, predicted = np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.5], [2.0]])
    found = scores(actual, predicted, np.full((3, 1), 2.0), tolerance=0.5)
    assert found["mse"] == pytest.approx(1.25 / 3)
    assert found["rmse"] == pytest.approx((1.25 / 3) ** 0.5)
    assert found["r2"] == pytest.approx(1 - 1.25 / 2)
    assert found["within_tolerance"] == pytest.approx(2 / 3)
    assert found["baseline"] == pytest.approx(2 / 3)


def test_a_hit_is_within_the_tolerance_in_all_targets() -> None:
    actual = np.zeros((2, 2))
    predicted = np.array([[0.1, 0.1], [0.1, 9.0]])
    assert scores(actual, predicted, actual, tolerance=1.0)["within_tolerance"] == 0.5


def test_the_baseline_is_the_last_value_or_the_mean() -> None:
    x = torch.arange(12.0).view(2, 3, 2)
    assert baseline({"baseline": {"columns": [1]}}, x).tolist() == [[5.0], [11.0]]
    assert baseline({"baseline": {"name": "mean"}, "target_mean": [7.0]}, x).tolist() == [[7.0], [7.0]]


@pytest.mark.parametrize("start", [0.5, "2024-01-01T00:00:00"])
def test_series_are_pictured(start: float | str, tmp_path: Path) -> None:
    task = series_task(tmp_path, {"name": "time (s)", "start": start, "step": 3600.0}, readout="attention", width=8)
    found = SERIES.run(task, SeriesEvaluateConfig(steps=10))
    assert {HEADLINES["series"].name, "baseline"} <= set(found)
    expected = {"predicted_and_actual", "forecast_over_time", "attention_over_steps", "state_evolution"}
    assert pictures(task) == expected | {"learning_curves"}
    with (task.tables / "predictions.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    assert table[0] == ["example", "actual a", "predicted a", "actual $b 日", "predicted $b 日"]
    errors = [(float(row[2]) - float(row[1])) ** 2 for row in table[1:]]
    others = [(float(row[4]) - float(row[3])) ** 2 for row in table[1:]]
    assert np.mean(errors + others) == pytest.approx(found["mse"], rel=1e-4)


def test_what_is_not_there_is_not_pictured(tmp_path: Path) -> None:
    task = series_task(tmp_path, width=8)
    SERIES.run(task, SeriesEvaluateConfig())
    assert pictures(task) == {"predicted_and_actual", "state_evolution", "learning_curves"}


# --- tokens -------------------------------------------------------------------------------------------------------

ALWAYS = {"confusion", "learning_curves", "worst_mistakes"}


@pytest.mark.parametrize(
    ("family", "config", "extra"),
    [
        ("rnn", {"width": 8, "readout": "attention"}, {"attention_over_steps", "state_evolution"}),
        ("rnn", {"width": 8, "bidirectional": True, "layers": 2}, {"state_evolution"}),
        ("encoder", {"width": 8, "heads": 2, "blocks": 1}, {"two_heads"}),
        ("encoder", {"width": 8, "heads": 1, "blocks": 1}, set()),
        ("conv1d", {"width": 4}, set()),
    ],
)
def test_each_family_shows_what_it_has(family: str, config: dict[str, Any], extra: set[str], tmp_path: Path) -> None:
    task = token_task(family, tmp_path, **config)
    found = TOKENS.run(task, TokensEvaluateConfig(steps=8, mistakes=3))
    assert found["baseline"] == pytest.approx(1 / 3)
    assert {"accuracy", "macro_f1", "calibration_error"} <= set(found)
    assert pictures(task) == ALWAYS | extra
    with (task.tables / "worst_mistakes.csv").open(newline="", encoding="utf-8") as file:
        worst = list(csv.DictReader(file))
    assert len(worst) == 3
    assert [float(row["sure"]) for row in worst] == sorted((float(row["sure"]) for row in worst), reverse=True)
    assert all(row["actual"] != row["predicted"] for row in worst)


@pytest.mark.parametrize("motifs", [{}, {"GATA": "AGATAAGA", "TATA": "TATA"}])
def test_dna_filters_are_logos(motifs: dict[str, str], tmp_path: Path) -> None:
    task = token_task("conv1d", tmp_path, ["", *"ACGTN"], width=4)
    task.card.update({"motifs": motifs} if motifs else {})
    found = TOKENS.run(task, TokensEvaluateConfig())
    assert pictures(task) == ALWAYS | {"first_layer_filters"} | ({"motif_filters"} if motifs else set())
    assert ("motif_correlation" in found) == bool(motifs)


def test_names_leave_the_padding_out() -> None:
    ids = torch.tensor([3, 4, 0, 0])
    assert names({"vocabulary": WORDS}, ids) == ["sun", "is"]
    assert names({"vocabulary": 9}, ids) == ["3", "4"]


def test_what_a_model_does_not_have_it_does_not_tell(tmp_path: Path) -> None:
    task = token_task("rnn", tmp_path, width=8, bidirectional=True)
    x = task.x[:2]
    assert reading.readout_weights(task.model, x) is None
    assert reading.head_weights(task.model, x) is None
    assert reading.first_filters(task.model) is None
    states = reading.states(task.model, x)
    assert states is not None
    assert states.shape == (2, 16, 8)


# --- pictures of single sequences ---------------------------------------------------------------------------------


def test_pictures_depend_on_what_they_show_alone(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tokens = [*WORDS[1:], "a" * 40] * 3
    count = len(tokens)
    weights = random.dirichlet(np.ones(count), count)
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        passages("$Title$", "note", [Passage("日 $1 and $2", tokens, weights[0].tolist())], folder / "passages.png")
        evolution(tokens, weights, weights[:, :3], ["a", "$b$", "日"], "of $1 and $2", folder / "evolution.png")
        heads(tokens, [weights, weights[::-1]], ["head 1", "head 2"], folder / "heads.png")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_letters_that_the_font_lacks_are_boxes() -> None:
    assert plain("a 日b") == "a □b"
    assert drawable("a\n\t ") == "a↵→␣"
    assert short("abcdef", 4) == "abc…"
    assert label("cost in $", 20) == r"cost in \$"


# --- logos --------------------------------------------------------------------------------------------------------


def test_a_letter_that_is_sure_is_two_bits_high() -> None:
    assert logos.heights(logos.planted("ACG")).sum(0).tolist() == pytest.approx([2, 2, 2])
    assert logos.heights(np.full((4, 3), 0.25)).sum() == pytest.approx(0)


def test_a_filter_is_known_by_what_excites_it() -> None:
    letters = np.random.default_rng(0).integers(1, 5, (200, 30))
    letters[:100, 5:9] = [3, 1, 4, 1]  # GATA
    letters[:, 20:] = 0
    filters = np.zeros((3, 6, 4))
    filters[0, 1:5] = logos.planted("GATA")
    filters[1] = 7.0  # likes all letters alike, so tells nothing
    filters[2, 1:5] = -logos.planted("GATA")
    found = logos.frequencies(filters, letters, [1, 2, 3, 4])
    assert ["ACGT"[i] for i in found[0].argmax(0)] == list("GATA")
    assert np.allclose(found.sum(1), 1)
    assert (found[1] == 0.25).all()
    assert (found[2].argmax(0) != found[0].argmax(0)).all()


@pytest.mark.parametrize(
    ("letters", "reverse", "offset"), [("TGATAA", False, -1), ("TTATCA", True, -1), ("ATAA", False, 1)]
)
def test_a_motif_finds_its_filter_on_either_strand(letters: str, reverse: bool, offset: int) -> None:
    found = np.stack([logos.planted("CCCCCC"[: len(letters)]), logos.planted(letters)])
    match = logos.best_match(logos.planted("GATAAG"), found)
    assert (match.filter, match.reverse, match.offset) == (1, reverse, offset)
    assert 0.7 < match.correlation < 1


def test_the_reverse_complement_of_a_motif() -> None:
    assert np.array_equal(logos.flipped(logos.planted("AACG")), logos.planted("CGTT"))
