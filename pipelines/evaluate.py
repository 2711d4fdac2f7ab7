"""Stage `evaluate`: tests the trained model on data it never saw; writes results/<experiment>/metrics.json and plots/.

python -m pipelines.evaluate digits-cnn
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipelines import lineage, outs, places, stage
from pipelines.section import Section
from pipelines.stage import Stage

if TYPE_CHECKING:
    from torch import Tensor

    from lit_models.base import LitModel

BATCH = 256
SPEED_ROUNDS = 3


class EvaluateConfig(Section):
    """The section `experiments.<key>.evaluate`."""

    mistakes: int = Field(default=16, ge=1, le=400, description="worst mistakes to picture")
    calibration_bins: int = Field(default=15, ge=2, le=1000, description="bins of the calibration error")
    filter_steps: int = Field(default=60, ge=1, le=10_000, description="gradient steps towards a filter's best image")
    filters: int = Field(default=16, ge=1, le=1024, description="filters to picture in each layer, at most")


def evaluate(work: Stage) -> None:
    """Score the model, draw the pictures, and record both."""
    # Before the delivery's thread imports mlflow: two imports at once can trip over each other.
    import lit_models.visualize  # noqa: F401
    from pipelines.delivery import Delivery
    from pipelines.journal import Journal

    target = places.results(work.key)
    card = json.loads((places.model(work.key) / "model.json").read_text())
    with Delivery(), Journal(work.title) as journal:
        run, _ = lineage.start_run(journal, work, "test", trial=str(card["trial"]))
        journal.params(run, card["hyperparameters"])
        places_of_outs = (target / "metrics.json", target / "plots", target / "journal.jsonl")
        with outs.staged(*places_of_outs) as (metrics, plots, out):
            scores = _evaluate(work, card, plots)
            metrics.write_text(json.dumps(scores, indent=2) + "\n")
            journal.metrics(run, 0, scores)
            journal.artifact(run, metrics, "metrics.json")
            for file in sorted(plots.rglob("*.*")):
                journal.artifact(run, file, f"plots/{file.relative_to(plots).as_posix()}")
            journal.end(run)
            journal.save(out)
    work.say(
        f"test accuracy {scores['accuracy']:.4f}, macro F1 {scores['macro_f1']:.4f}, "
        f"calibration error {scores['calibration_error']:.4f}, {scores['parameters']:,.0f} parameters"
    )


def _evaluate(work: Stage, card: dict[str, Any], plots: Path) -> dict[str, float]:
    import torch

    from lit_models.data import read_split
    from pipelines.evaluation_pictures import draw_all
    from pipelines.scores import test_scores

    experiment = work.params.experiments[work.key]
    torch.set_num_threads(card["threads"])
    folder = places.model(work.key)
    model = load_model(card, folder, places.prepared(experiment.dataset))
    x, y = read_split(places.prepared(experiment.dataset) / "test.safetensors")
    logits, speed = _predict(model, x)
    scores = {
        **test_scores(logits, y, experiment.evaluate.calibration_bins),
        "parameters": float(sum(parameter.numel() for parameter in model.parameters())),
        "val_accuracy": card["val_accuracy"],
        "epochs": float(card["epochs"]),
        "seconds": card["seconds"],
        "images_per_second": speed,
    }
    draw_all(plots, model, x, y, logits, _class_names(experiment.dataset), folder, experiment.evaluate)
    return scores


def load_model(card: dict[str, Any], folder: Path, prepared: Path) -> "LitModel":
    """Rebuild a trained model from models/<experiment>/; weights are safetensors, so nothing is unpickled."""
    from safetensors.torch import load_file

    from lit_models import FAMILIES
    from lit_models.spec import load_spec

    family = FAMILIES[card["family"]]
    model = family(family.Config.model_validate_json(json.dumps(card["hyperparameters"])), load_spec(prepared))
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model.eval()


def _predict(model: "LitModel", x: "Tensor") -> "tuple[Tensor, float]":
    """Return logits (N, classes) and images per second, the fastest of a few rounds."""
    import torch

    fastest = float("inf")
    with torch.inference_mode():
        for _ in range(SPEED_ROUNDS):
            began = time.perf_counter()
            logits = torch.cat([model(batch) for batch in torch.split(x, BATCH)])
            fastest = min(fastest, time.perf_counter() - began)
    return logits, len(x) / fastest


def _class_names(dataset: str) -> list[str]:
    return list(json.loads((places.prepared(dataset) / "card.json").read_text())["classes"])


if __name__ == "__main__":
    stage.main("evaluate", "Test a trained model and picture it.", evaluate, over="experiments")
