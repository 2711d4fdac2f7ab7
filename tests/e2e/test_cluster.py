"""A search on machines of a cluster: the same tables as here, whatever vanishes, and what each trial cost.

The machines are pretended: see cluster.py.
"""

import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from tests.e2e.chaos import COMMAND, doubled, now, progress, tables
from tests.e2e.cluster import PretendCluster, free_port, pretended_cluster
from tests.e2e.conftest import PATIENCE, Checkout, make_checkout

pytestmark = pytest.mark.slow

SEARCH = "search: {trials: 3, epochs: 2, space: {lr: {loguniform: [0.001, 0.01]}, dropout: {uniform: [0.0, 0.3]}}}"
TRIALS, EPOCHS = 6, 200
PRICES = (0.6, 0.3, 1.2)


def prepared(folder: Path) -> Checkout:
    """A checkout with data, and nothing searched yet."""
    checkout = make_checkout(folder / "fifty")
    for name in ("fetch", "prepare", "augment"):
        checkout.stage(name, "digits")
    return checkout


def reach(checkout: Checkout, process: "subprocess.Popen[str]", share: float) -> None:
    """Wait until a part of the epochs is safe on disk."""
    until = time.monotonic() + PATIENCE
    while progress(checkout, EPOCHS) < share:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.1)


def costs(checkout: Checkout) -> dict[int, float]:
    table = pq.read_table(checkout.root / "results" / "digits-mlp" / "search" / "timings.parquet")
    return {row["trial"]: row["cost_usd"] for row in table.to_pylist()}


def told(checkout: Checkout, began: int) -> tuple[dict[str, float], float]:
    """What MLflow says that trials cost since then, and their search."""
    client = MlflowClient(f"sqlite:///{checkout.root}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("digits-mlp")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"attributes.start_time >= {began}", max_results=100)
    trials = {run.info.run_name: run.data.metrics["cost_usd"] for run in runs if run.data.tags["stage"] == "trial"}
    (search,) = (run.data.metrics["cost_usd"] for run in runs if run.data.tags["stage"] == "search")
    return trials, search


@pytest.mark.timeout(2400)
def test_the_same_tables_though_a_machine_vanishes_and_the_search_is_killed(tmp_path: Path) -> None:
    checkout = prepared(tmp_path)
    space = "space: {lr: {loguniform: [0.001, 0.1]}, dropout: {uniform: [0.0, 0.3]}}"
    checkout.edit(
        SEARCH,
        f"search: {{trials: {TRIALS}, epochs: {EPOCHS}, K: 3, scheduler: halving, rungs: [{EPOCHS // 3}], {space}}}",
    )
    checkout.run(*COMMAND, timeout=PATIENCE)
    expected = tables(checkout)
    assert set(costs(checkout).values()) == {0.0}
    for folder in (checkout.root / ".fifty" / "search", checkout.root / "results"):
        folder.rename(folder.with_name(f"{folder.name}-here"))  # it plans for itself, too

    with pretended_cluster(hidden=checkout.root) as cluster:
        doomed = [cluster.add(price) for price in PRICES[:2]]
        checkout.more = {**cluster.admission, "RAY_ADDRESS": cluster.address}
        began, start = now(), time.time()
        process = checkout.start(*COMMAND)
        reach(checkout, process, 0.2)
        doomed[0].kill()
        cluster.add(PRICES[2])
        reach(checkout, process, 0.6)
        process.kill()
        process.communicate()
        output = checkout.run(*COMMAND, timeout=PATIENCE)
        seconds = time.time() - start
        assert tables(checkout) == expected
        assert doubled(checkout, TRIALS, began) == []
        _check_costs(checkout, output, began, seconds)
        assert len(cluster.processes("raylet")) == 3, "the cluster is left as it was found"


def _check_costs(checkout: Checkout, output: str, began: int, seconds: float) -> None:
    paid = costs(checkout)
    total = sum(paid.values())
    assert all(dollars > 0 for dollars in paid.values())
    assert total < sum(PRICES) / 3600 * seconds
    trials, search = told(checkout, began)
    assert trials == {f"trial-{trial:04d}": pytest.approx(dollars) for trial, dollars in paid.items()}
    assert search == pytest.approx(total)
    assert f"they cost ${total:.4f}" in output


def test_a_cluster_that_is_not_there_or_admits_nobody_is_one_sentence(tmp_path: Path) -> None:
    checkout = prepared(tmp_path)
    nowhere = f"127.0.0.1:{free_port()}"
    checkout.more = {"RAY_ADDRESS": nowhere}
    assert f"search@digits-mlp: nothing answers at RAY_ADDRESS={nowhere}; " in checkout.stage("search", "digits-mlp", 1)
    checkout.more = {"RAY_ADDRESS": "http://127.0.0.1:8265"}
    assert "RAY_ADDRESS is http://127.0.0.1:8265; " in checkout.stage("search", "digits-mlp", 1)
    with pretended_cluster(hidden=checkout.root) as cluster:
        _is_turned_away(checkout, cluster)


def _is_turned_away(checkout: Checkout, cluster: PretendCluster) -> None:
    for admission in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
        checkout.more = {"RAY_ADDRESS": cluster.address, **admission}
        output = checkout.stage("search", "digits-mlp", 1)
        assert "is its token here, and RAY_AUTH_MODE=token?" in output
        assert "Traceback" not in output


def test_when_the_cluster_dies_the_search_leaves_and_can_go_on_here(tmp_path: Path) -> None:
    checkout = prepared(tmp_path)
    checkout.edit(SEARCH, f"search: {{trials: 2, epochs: {EPOCHS}, space: {{lr: {{loguniform: [0.001, 0.1]}}}}}}")
    with pretended_cluster(hidden=checkout.root) as cluster:
        cluster.add(PRICES[0], gpus=1)
        checkout.more = {**cluster.admission, "RAY_ADDRESS": cluster.address}
        process = checkout.start(*COMMAND)
        reach(checkout, process, 0.1)
        for server in cluster.processes("gcs_server"):
            server.kill()
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, output
        assert f"the cluster at {cluster.address} is gone; nothing is lost" in output
        assert "the cluster offers a GPU that torch cannot use; cohorts are planned for processors" in output
    checkout.more = {}
    checkout.run(*COMMAND, timeout=PATIENCE)
    assert all(dollars > 0 for dollars in costs(checkout).values()), "what was paid before still counts"
