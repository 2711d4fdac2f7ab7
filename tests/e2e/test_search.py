"""The search stage with each algorithm and scheduler, and with trials that fail or diverge."""

import shutil

import pyarrow.parquet as pq
import pytest

from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.slow

SEARCH = "search: {trials: 3, epochs: 2, space: {lr: {loguniform: [0.001, 0.01]}, dropout: {uniform: [0.0, 0.3]}}}"


def trials(checkout: Checkout) -> list[dict[str, object]]:
    """The rows of trials.parquet."""
    table = pq.read_table(checkout.root / "results" / "digits-mlp" / "search" / "trials.parquet")
    return list(table.to_pylist())


def test_tpe_with_asha_accounts_for_every_trial(checkout: Checkout) -> None:
    checkout.edit(
        SEARCH,
        "search: {algorithm: tpe, generation: 3, scheduler: asha, trials: 6, epochs: 9, metric: val_loss,"
        " space: {lr: {loguniform: [0.0001, 0.1]}, depth: {int: [1, 3]}, optimizer: {choice: [sgd, adamw]}}}",
    )
    checkout.stage("search", "digits-mlp")
    rows = trials(checkout)
    assert [row["trial"] for row in rows] == list(range(6))
    assert {row["status"] for row in rows} <= {"finished", "stopped"}
    assert all(row["epochs"] == 9 for row in rows if row["status"] == "finished")
    assert len({row["lr"] for row in rows}) == 6
    assert {row["optimizer"] for row in rows} <= {"sgd", "adamw"}


def test_a_grid_with_median_stopping_tries_all_and_a_diverging_trial_disturbs_no_other(checkout: Checkout) -> None:
    checkout.edit(
        SEARCH,
        "search: {algorithm: grid, scheduler: median, trials: 100, epochs: 3,"
        " space: {lr: {choice: [0.001, 10.0]}, momentum: {choice: [0.5, 0.9]}}}",
    )
    checkout.edit("model: {hidden: 32}", "model: {hidden: 32, optimizer: momentum, depth: 8}")
    checkout.stage("search", "digits-mlp")
    rows = trials(checkout)
    assert [(row["lr"], row["momentum"]) for row in rows] == [(0.001, 0.5), (0.001, 0.9), (10.0, 0.5), (10.0, 0.9)]
    assert [row["status"] for row in rows[2:]] == ["diverged", "diverged"]
    assert {row["status"] for row in rows[:2]} <= {"finished", "stopped"}
    assert all(row["val_loss"] < 10 for row in rows[:2])


@pytest.mark.timeout(2400)
def test_the_same_tables_on_one_worker_and_on_two_with_each_scheduler(checkout: Checkout) -> None:
    space = "space: {lr: {loguniform: [0.0001, 0.1]}, dropout: {uniform: [0.0, 0.3]}}}"
    tables = {}
    for scheduler in ("halving", "hyperband", "pbt"):
        before = (checkout.root / "params.yaml").read_text()
        checkout.edit(SEARCH, f"search: {{scheduler: {scheduler}, trials: 14, epochs: 5, {space}")
        for workers in (1, 2):
            checkout.edit("report: {}", f"machine: {{workers: {workers}}}\nreport: {{}}")
            # The second plans for itself; it would follow the first one's plan.
            shutil.rmtree(checkout.root / ".fifty" / "search", ignore_errors=True)
            checkout.stage("search", "digits-mlp")
            out = checkout.root / "results" / "digits-mlp" / "search"
            tables[workers] = [(out / f"{name}.parquet").read_bytes() for name in ("trials", "history")]
            checkout.edit(f"machine: {{workers: {workers}}}\nreport: {{}}", "report: {}")
        assert tables[1] == tables[2]
        stopped = sum(row["status"] == "stopped" for row in trials(checkout))
        assert stopped == 0 if scheduler == "pbt" else stopped > 4
        (checkout.root / "params.yaml").write_text(before)


def test_what_no_trial_could_do_fails_the_search_and_says_why(checkout: Checkout) -> None:
    data = checkout.root / "data" / "augmented" / "digits" / "train.safetensors"
    data.write_bytes(data.read_bytes()[:100])
    before = (checkout.root / "results" / "digits-mlp" / "search" / "best.yaml").read_bytes()
    output = checkout.stage("search", "digits-mlp", code=1)
    assert "search@digits-mlp: the data cannot be read: " in output
    assert "Traceback" not in output
    assert (checkout.root / "results" / "digits-mlp" / "search" / "best.yaml").read_bytes() == before
