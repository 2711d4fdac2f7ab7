"""`dvc repro` and DVC's other commands on the whole pipeline."""

import filecmp
import hashlib
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.slow

OUTS = ("data/raw", "data/prepared", "data/augmented", "results", "models", "reports")


def ran(output: str) -> set[str]:
    """The stages that DVC says it ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def digests(root: Path, *folders: str) -> dict[str, str]:
    """SHA-256 of every file under the folders."""
    files = [path for folder in folders for path in (root / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_first_repro_leaves_every_result(finished: Checkout) -> None:
    root = finished.root
    for key in ("digits-mlp", "digits-cnn"):
        scores = json.loads((root / "results" / key / "metrics.json").read_text())
        assert 0 <= scores["accuracy"] <= 1
        assert {"macro_f1", "calibration_error", "loss", "parameters", "seconds", "images_per_second"} <= set(scores)
        pictures = {path.name for path in (root / "results" / key / "plots" / "pictures").iterdir()}
        assert {"confusion.png", "worst_mistakes.png", "learning_curves.png", "first_layer_filters.png"} <= pictures
        assert any(name.startswith("maximizing_conv") for name in pictures) == (key == "digits-cnn")
        assert (root / "models" / key / "weights.safetensors").exists()
    page = (root / "reports" / "index.html").read_text()
    assert "digits-mlp" in page
    assert "digits-cnn" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'src="data:image/png;base64,' in page
    assert (root / "data" / "augmented" / "digits" / "preview.png").exists()


def test_second_repro_runs_nothing(checkout: Checkout) -> None:
    output = checkout.run("dvc", "repro")
    assert ran(output) == set()
    assert "up to date" in output


def test_one_experiments_parameter_reruns_only_that_experiment(checkout: Checkout) -> None:
    checkout.edit("train: {epochs: 3}", "train: {epochs: 2}")
    output = checkout.run("dvc", "repro")
    assert ran(output) == {"train@digits-mlp", "evaluate@digits-mlp", "report"}


def test_augmentation_reruns_augment_and_what_follows(checkout: Checkout) -> None:
    checkout.edit("rotate: 10", "rotate: 12")
    assert ran(checkout.run("dvc", "repro", "augment@digits")) == {"augment@digits"}
    changed = checkout.run("dvc", "status")
    for stage in ("search@digits-mlp", "search@digits-cnn", "train@digits-mlp"):
        assert f"{stage}:" in changed
    assert "prepare@digits:" not in changed
    assert "fetch@digits:" not in changed


def test_another_family_reruns_nothing(checkout: Checkout) -> None:
    table = checkout.root / "lit_models" / "__init__.py"
    table.write_text(table.read_text() + "\n# one more family\n")
    schema = checkout.root / "pipelines" / "params.py"
    schema.write_text(schema.read_text() + "\n# one more section\n")
    assert ran(checkout.run("dvc", "repro")) == set()


def test_a_removed_experiment_leaves_the_report(checkout: Checkout) -> None:
    path = checkout.root / "params.yaml"
    text = path.read_text()
    begin, end = text.index("  digits-cnn:"), text.index("report:")
    path.write_text(text[:begin] + text[end:])
    assert ran(checkout.run("dvc", "repro")) == {"report"}
    page = (checkout.root / "reports" / "index.html").read_text()
    assert "digits-mlp" in page
    assert "digits-cnn" not in page


def test_forced_search_is_byte_identical(checkout: Checkout) -> None:
    folder, again = "results/digits-mlp/search", ("dvc", "repro", "-f", "-s", "search@digits-mlp")
    before = digests(checkout.root, folder)
    checkout.run(*again)
    after = digests(checkout.root, folder)
    for name in ("trials.parquet", "history.parquet", "best.yaml"):
        assert before[f"{folder}/{name}"] == after[f"{folder}/{name}"]
    assert before[f"{folder}/timings.parquet"] != after[f"{folder}/timings.parquet"]
    assert runs(checkout) == 4
    checkout.run(*again)
    assert runs(checkout) == 8, "asked anew, it is trained anew, as new runs"


def test_killed_before_dvc_took_note_a_finished_search_is_not_done_again(checkout: Checkout) -> None:
    folder, lock = "results/digits-mlp/search", checkout.root / "dvc.lock"
    noted = lock.read_bytes()
    checkout.run("dvc", "repro", "-f", "-s", "search@digits-mlp")
    before = digests(checkout.root, folder)
    for _ in range(2):
        lock.write_bytes(noted)  # as if DVC had been killed before it wrote this
        assert "nothing is done again" in checkout.run("dvc", "repro", "-f", "-s", "search@digits-mlp")
    assert digests(checkout.root, folder) == before
    assert runs(checkout) == 4
    assert ran(checkout.run("dvc", "repro", "-s", "search@digits-mlp")) == set()


def runs(checkout: Checkout) -> int:
    """How many runs MLflow has of the search and its three trials, whole."""
    checkout.run(sys.executable, "-m", "pipelines.tracking")
    query = "SELECT r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid WHERE t.key = 'stage' "
    query += "AND t.value IN ('search', 'trial') AND r.experiment_id = "
    query += "(SELECT experiment_id FROM experiments WHERE name = 'digits-mlp')"
    with closing(sqlite3.connect(checkout.root / "mlruns" / "mlflow.db")) as database:
        found = [status for (status,) in database.execute(query)]
    assert set(found) == {"FINISHED"}
    return len(found)


def test_metrics_plots_params_and_dag(checkout: Checkout) -> None:
    shown = json.loads(checkout.run("dvc", "metrics", "show", "--json"))
    data = shown[""]["data"]
    assert set(data) == {"results/digits-mlp/metrics.json", "results/digits-cnn/metrics.json"}
    assert "accuracy" in data["results/digits-mlp/metrics.json"]["data"]
    checkout.run("dvc", "plots", "show", "-o", "plots-page")
    page = (checkout.root / "plots-page" / "index.html").read_text()
    assert "confusion" in page
    assert "worst_mistakes.png" in page
    assert "preview.png" in page
    checkout.edit("train: {epochs: 3}", "train: {epochs: 4}")
    assert "experiments.digits-mlp.train.epochs" in checkout.run("dvc", "params", "diff")
    dag = checkout.run("dvc", "dag", "--dot")
    for edge in ('"search@digits-cnn" -> "train@digits-cnn"', '"evaluate@digits-cnn" -> "report"'):
        assert edge in dag


def test_push_and_pull_give_back_every_byte(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    checkout.commit("a remote")
    checkout.run("dvc", "push")
    clone = Checkout(tmp_path / "clone")
    checkout.run("git", "clone", "-q", str(checkout.root), str(clone.root))
    shutil.copy2(checkout.root / ".git" / "test-config", clone.root / ".git" / "test-config")
    clone.run("dvc", "pull")
    assert digests(clone.root, *OUTS) == digests(checkout.root, *OUTS)
    assert filecmp.cmp(clone.root / "dvc.lock", checkout.root / "dvc.lock", shallow=False)
    assert ran(clone.run("dvc", "repro")) == set()
