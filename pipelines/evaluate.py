"""Stage `evaluate`: tests the trained model on data it never saw; writes results/<experiment>/metrics.json and plots/.

python -m pipelines.evaluate digits-cnn
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import lineage, outs, places, stage
from pipelines.headlines import HEADLINES
from pipelines.stage import Stage

if TYPE_CHECKING:
    from lit_models.core.base import LitModel


def evaluate(work: Stage) -> None:
    """Score the model, draw the pictures, and record both."""
    # Before the delivery's thread imports mlflow: two imports at once can trip over each other.
    import lit_models  # noqa: F401
    from pipelines.delivery import Delivery
    from pipelines.evaluations import EVALUATIONS
    from pipelines.journal import Journal

    target = places.results(work.key)
    card = json.loads((places.model(work.key) / "model.json").read_text())
    form = work.params.form(work.params.experiments[work.key].dataset)
    with Delivery(), Journal(work.title) as journal:
        run, _ = lineage.start_run(journal, work, "test", trial=str(card["trial"]))
        journal.params(run, card["hyperparameters"])
        places_of_outs = (target / "metrics.json", target / "plots", target / "journal.jsonl")
        with outs.staged(*places_of_outs) as (metrics, plots, out):
            scores = _evaluate(work, card, EVALUATIONS[form], plots)
            metrics.write_text(json.dumps(scores, indent=2) + "\n")
            journal.metrics(run, 0, scores)
            journal.artifact(run, metrics, "metrics.json")
            for file in sorted(plots.rglob("*.*")):
                journal.artifact(run, file, f"plots/{file.relative_to(plots).as_posix()}")
            journal.end(run)
            journal.save(out)
    name = HEADLINES[form].name
    work.say(
        f"test {name.replace('_', ' ')} {scores[name]:.4f} (baseline {scores['baseline']:.4f}), "
        f"{scores['parameters']:,.0f} parameters"
    )


def _evaluate(work: Stage, card: dict[str, Any], evaluation: Any, plots: Path) -> dict[str, float]:
    import torch

    from lit_models.core.data import read_split
    from pipelines.evaluations.base import Task

    torch.set_num_threads(card["threads"])
    prepared, trained = places.prepared(work.params.experiments[work.key].dataset), places.model(work.key)
    model = load_model(card, trained, prepared)
    x, y = read_split(prepared / "test.safetensors", model.spec)
    data_card = json.loads((prepared / "card.json").read_text(encoding="utf-8"))
    task = Task(model, x, y, data_card, prepared, trained, plots)
    for folder in (task.pictures, task.tables, task.confusion):
        folder.mkdir()
    return {
        **evaluation.run(task, work.params.evaluate_config(work.key)),
        "parameters": float(sum(parameter.numel() for parameter in model.parameters())),
        "val_accuracy": card["val_accuracy"],
        "epochs": float(card["epochs"]),
        "seconds": card["seconds"],
    }


def load_model(card: dict[str, Any], folder: Path, prepared: Path) -> "LitModel":
    """Rebuild a trained model from models/<experiment>/; weights are safetensors, so nothing is unpickled."""
    from safetensors.torch import load_file

    from lit_models import FAMILIES
    from lit_models.forms import load_spec

    family = FAMILIES[card["family"]]
    model = family(family.Config.model_validate_json(json.dumps(card["hyperparameters"])), load_spec(prepared))
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    return model.eval()


if __name__ == "__main__":
    stage.main("evaluate", "Test a trained model and picture it.", evaluate, over="experiments", forks=True)
