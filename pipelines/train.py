"""Stage `train`: trains the search's winner to the end and writes it to models/<experiment>/.

    python -m pipelines.train digits-cnn

Killed at any moment and started again, it goes on from its last epoch and ends in the same weights, bit by bit.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from pipelines import lineage, outs, places, stage
from pipelines.section import Section
from pipelines.stage import Stage

if TYPE_CHECKING:
    from lit_models.core.base import LitModel
    from lit_models.fit import FitResult
    from pipelines.journal import Journal


class TrainConfig(Section):
    """The section `experiments.<key>.train`."""

    fit_on: Literal["train", "train+val"] = Field(
        default="train",
        description="`train` stops early on val; `train+val` trains on both for the winner's best number of epochs",
    )
    start: Literal["scratch", "winner", "reuse"] = Field(
        default="scratch",
        description="`scratch` begins anew, `winner` with the weights its trial ended with, `reuse` keeps just those",
    )
    epochs: int = Field(default=30, ge=1, le=100_000, description="most epochs of `train`")
    patience: int = Field(default=10, ge=1, description="epochs without a lower validation loss before `train` stops")
    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of weights, batches, dropout and augmentation")
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads; they decide float rounding")

    @model_validator(mode="after")
    def _nothing_to_add(self) -> Self:
        if self.start == "reuse" and self.fit_on != "train":
            raise ValueError("start: reuse trains nothing, so fit_on must be train")
        return self


def train(work: Stage) -> None:
    """Fit the winner, keep its weights, its exported graph and its history, and register it."""
    # Before the delivery's thread imports mlflow: two imports at once can trip over each other.
    from ruamel.yaml import YAML

    import lit_models.fit  # noqa: F401
    from pipelines.delivery import Delivery
    from pipelines.journal import Journal

    best = YAML(typ="safe").load(places.results(work.key) / "search" / "best.yaml")
    state = places.state("train", work.key, _fingerprint(work, best))
    with Delivery(), Journal(work.title) as journal:
        run, tags = lineage.start_run(journal, work, "training", trial=str(best["trial"]))
        settings = {f"train.{name}": value for name, value in work.params.experiments[work.key].train}
        journal.params(run, {**best["hyperparameters"], **settings})
        model, outcome = _fit(work, best, state, journal, run)
        seconds = sum(result.seconds for result in outcome.history)
        final = outcome.history[outcome.best_epoch - 1]
        summary = {
            "epochs": len(outcome.history),
            "best_epoch": outcome.best_epoch,
            # Trained on val too, the winner has no validation figures of its own but those of its trial.
            "val_accuracy": best["val_accuracy"] if final.val_accuracy is None else final.val_accuracy,
            "val_loss": best["val_loss"] if final.val_loss is None else final.val_loss,
            "seconds": seconds,
        }
        with outs.staged(places.model(work.key)) as (folder,):
            write_model(folder, work, best, model, outcome, summary)
            _register(work, journal, run, tags, folder, summary)
    outs.discard(state)
    work.say(
        f"{summary['epochs']} epochs in {seconds:.1f} s, "
        f"validation accuracy {summary['val_accuracy']:.4f} (best epoch {summary['best_epoch']})"
    )


def _fit(work: Stage, best: dict[str, Any], state: Path, journal: "Journal", run: str) -> "tuple[LitModel, FitResult]":
    """Build the winner and fit it, with a bar or lines, telling the journal every epoch."""
    import torch

    from lit_models import FAMILIES
    from lit_models.core.data import PreparedData
    from lit_models.fit import EpochResult, fit
    from lit_models.forms import load_spec
    from pipelines.faults import Fault
    from pipelines.progress import Progress
    from pipelines.winner import as_trained, take_weights

    experiment = work.params.experiments[work.key]
    config = experiment.train
    torch.set_num_threads(config.threads)
    family = FAMILIES[experiment.family]
    hyperparameters = family.Config.model_validate_json(json.dumps(best["hyperparameters"]))
    prepared, augmented = places.prepared(experiment.dataset), places.augmented(experiment.dataset)
    data = PreparedData(prepared, augmented, hyperparameters, config.seed, config.fit_on)
    model = family(hyperparameters, load_spec(prepared), seed=config.seed)
    search = places.results(work.key) / "search"
    if config.start != "scratch":
        take_weights(model, search)
    if config.start == "reuse":
        outcome = as_trained(search, best["trial"])
        for result in outcome.history:
            journal.metrics(run, result.epoch, _metrics(result))
        return model.eval(), outcome
    alone = config.fit_on == "train"
    epochs = config.epochs if alone else best["epoch"]
    progress = Progress(work.title, epochs, "epochs")
    told: set[int] = set()

    def report(result: EpochResult) -> None:
        told.add(result.epoch)
        journal.metrics(run, result.epoch, _metrics(result))
        loss = result.train_loss if result.val_loss is None else result.val_loss
        progress.step(f"{'validation' if alone else 'training'} loss {loss:.4f}")

    outcome = fit(
        model,
        data,
        epochs=epochs,
        seed=config.seed,
        on_epoch=report,
        patience=config.patience if alone else None,
        checkpoint_dir=state,
    )
    progress.close()
    if outcome.stopped == "diverged":
        raise Fault("the winner diverged in training; set a lower experiments.*.model.lr or another train.seed")
    for result in outcome.history:
        if result.epoch not in told:  # from before an interruption
            journal.metrics(run, result.epoch, _metrics(result))
    return model, outcome


def _metrics(result: Any) -> dict[str, float]:
    names = ("train_loss", "val_loss", "val_accuracy", "lr", "seconds")
    return {name: getattr(result, name) for name in names if getattr(result, name) is not None}


def write_model(
    folder: Path, work: Stage, best: dict[str, Any], model: "LitModel", outcome: "FitResult", summary: dict[str, Any]
) -> None:
    """Write weights, what they belong to, the history, and the exported graph as an MLflow model."""
    import csv

    from safetensors.torch import save_file

    from pipelines.tracking import package_model

    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "weights.safetensors"
    )
    card = {
        "family": work.params.experiments[work.key].family,
        "trial": best["trial"],
        "threads": work.params.experiments[work.key].train.threads,
        "hyperparameters": best["hyperparameters"],
        **summary,
    }
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n")
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = ["epoch", "train_loss", "val_loss", "val_accuracy", "lr"]
        writer.writerow(names)
        writer.writerows([getattr(result, name) for name in names] for result in outcome.history)
    package_model(model, _example(model), folder / "package")


def _example(model: "LitModel") -> Any:
    """Two blank inputs (2, ...) as NumPy has them; pixels as the floats that MLflow's users send."""
    import torch

    example = model.spec.example(2)
    return (example.float() if example.dtype == torch.uint8 else example).numpy()


def _register(
    work: Stage, journal: "Journal", run: str, tags: dict[str, str], folder: Path, summary: dict[str, Any]
) -> None:
    """Tell the journal of the finished model, close the run, and put the journal into the out."""
    numbers = {name: float(summary[name]) for name in ("val_accuracy", "val_loss")}
    journal.metrics(run, summary["best_epoch"], {f"final_{name}": value for name, value in numbers.items()})
    for name in ("model.json", "weights.safetensors", "package"):
        journal.artifact(run, folder / name, name)
    version = {**tags, **{name: repr(value) for name, value in numbers.items()}}
    journal.model(run, "package", f"fifty-{work.params.experiments[work.key].dataset}", version)
    journal.end(run)
    journal.save(folder / "journal.jsonl")


def _fingerprint(work: Stage, best: dict[str, Any]) -> str:
    """What a half-trained state belongs to: parameters, data and code."""
    experiment = work.params.experiments[work.key]
    digest = hashlib.sha256()
    digest.update(json.dumps([best, experiment.train.model_dump()], sort_keys=True).encode())
    for data in (places.prepared(experiment.dataset), places.augmented(experiment.dataset) / "train.safetensors"):
        digest.update(lineage.dvc_hash(data).encode())
    if experiment.train.start != "scratch":
        digest.update((places.results(work.key) / "search" / "winner.safetensors").read_bytes())
    for file in sorted(Path("lit_models").rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    stage.main("train", "Train the winner of an experiment's search.", train, over="experiments", forks=True)
