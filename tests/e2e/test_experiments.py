"""DVC's experiments, in the workspace and queued, and MLflow's view of what DVC restored without running."""

import json
import re
import shutil
import sys
import time

import mlflow
import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.slow


def client(checkout: Checkout) -> mlflow.MlflowClient:
    """MLflow as the checkout's dashboard shows it."""
    return mlflow.MlflowClient(f"sqlite:///{checkout.root}/mlruns/mlflow.db")


def runs(checkout: Checkout, experiment: str, stage: str) -> list[mlflow.entities.Run]:
    """The runs of one stage of one experiment, newest first."""
    found = client(checkout).get_experiment_by_name(experiment)
    if found is None:
        return []
    return list(client(checkout).search_runs([found.experiment_id], f"tags.stage = '{stage}'"))


def test_exp_run_changes_the_workspace_and_is_shown(checkout: Checkout) -> None:
    output = checkout.run("dvc", "exp", "run", "-S", "experiments.digits-mlp.search.trials=4")
    assert "search@digits-mlp" in output
    assert "search@digits-cnn" not in re.findall(r"Running stage '(.*?)'", output)
    assert len(runs(checkout, "digits-mlp", "trial")) == 4
    tags = runs(checkout, "digits-mlp", "search")[0].data.tags
    baseline = checkout.run("git", "rev-parse", "HEAD").strip()
    assert tags["dvc.exp_baseline"] == baseline
    assert tags["dvc.exp_name"] in checkout.run("dvc", "exp", "show", "--csv")


def test_queued_experiments_land_on_the_same_dashboard(checkout: Checkout) -> None:
    checkout.run("dvc", "exp", "run", "--queue", "-S", "experiments.digits-mlp.train.epochs=5")
    checkout.run("dvc", "queue", "start")
    deadline = time.monotonic() + 200
    while re.search(r"Queued|Running", status := checkout.run("dvc", "queue", "status")):
        assert time.monotonic() < deadline, status
        time.sleep(1)
    assert "Success" in status
    checkout.run("dvc", "queue", "stop", "--kill")
    trained = runs(checkout, "digits-mlp", "train")
    assert [run.data.params["train.epochs"] for run in trained] == ["5"]
    assert trained[0].data.tags["dvc.exp_name"] in status
    # The experiment's own copy is gone; what it made is not.
    version = client(checkout).get_model_version_by_alias("fifty-digits", "champion")
    assert str(checkout.root / "mlruns") in version.source
    deadline = time.monotonic() + 30
    while "celery" in checkout.run("ps", "-eo", "args") and time.monotonic() < deadline:
        time.sleep(0.5)


def test_what_dvc_restores_is_rebuilt_in_mlflow(checkout: Checkout) -> None:
    """A new clone's outs come from the cache; no stage runs, and the dashboard is whole all the same."""
    for folder in ("results", "models", "reports", "data"):
        shutil.rmtree(checkout.root / folder)
    checkout.run("dvc", "checkout")
    assert not (checkout.root / "mlruns").exists()
    output = checkout.run(sys.executable, "-m", "pipelines.tracking")
    assert "6 journal(s) rebuilt" in output
    assert len(runs(checkout, "digits-mlp", "trial")) == 3
    trial = runs(checkout, "digits-mlp", "trial")[0]
    history = client(checkout).get_metric_history(trial.info.run_id, "val_loss")
    assert [point.step for point in history] == [1, 2]
    parent = runs(checkout, "digits-mlp", "search")[0]
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    scores = json.loads((checkout.root / "results" / "digits-mlp" / "metrics.json").read_text())
    evaluated = runs(checkout, "digits-mlp", "evaluate")[0]
    assert evaluated.data.metrics["accuracy"] == scores["accuracy"]
    pictures = client(checkout).list_artifacts(evaluated.info.run_id, "plots/pictures")
    assert "plots/pictures/confusion.png" in {picture.path for picture in pictures}
    versions = client(checkout).search_model_versions("name='fifty-digits'")
    champion = client(checkout).get_model_version_by_alias("fifty-digits", "champion")
    best = max(float(version.tags["val_accuracy"]) for version in versions)
    assert len(versions) == 2
    assert float(champion.tags["val_accuracy"]) == best
    assert "rebuilt" not in checkout.run(sys.executable, "-m", "pipelines.tracking")


def test_every_run_tells_where_it_comes_from(finished: Checkout) -> None:
    lock = (finished.root / "dvc.lock").read_text()
    for stage in ("search", "trial", "train", "evaluate"):
        for run in runs(finished, "digits-cnn", stage):
            tags = run.data.tags
            for name in ("data.raw", "data.prepared", "data.augmented"):
                assert tags[name] in lock
            assert re.fullmatch(r"[0-9a-f]{40}", tags["git.commit"])
            assert tags["git.dirty"] == "false"
            assert tags["experiment"] == "digits-cnn"
            assert re.fullmatch(r"[0-9a-f]{16}", tags["params.hash"])
            assert ("trial" in tags) == (stage != "search")
            if stage != "trial":
                assert run.inputs.dataset_inputs[0].dataset.digest == tags["data.prepared"]
