"""The job of the normal loop is a real, small search: its trials run on a worker that comes for them."""

from collections.abc import Callable

import pyarrow.parquet as parquet
from ruamel.yaml import YAML

from tests.cloud.cluster import Cluster

MakeCluster = Callable[..., Cluster]
EXPERIMENT = "digits-mlp"
# Raw data is not sent: what is known of it is written beside the trials, so the head fetches it, as `dvc repro` would.
SEARCH = ".venv/bin/python -m pipelines.fetch digits && RAY_ADDRESS=auto .venv/bin/python -m pipelines.search"
TRIALS = 3


def small(made: Cluster) -> None:
    """Leave one experiment in params.yaml, and make its data as `dvc repro` does."""
    yaml, path = YAML(), made.outside / "params.yaml"
    params = yaml.load(path)
    experiment = params["experiments"][EXPERIMENT]
    space = {"lr": {"loguniform": [0.001, 0.01]}}
    experiment["search"] = {"algorithm": "random", "trials": TRIALS, "epochs": 2, "space": space}
    params["experiments"] = {EXPERIMENT: experiment}
    params["datasets"] = {"digits": params["datasets"]["digits"]}
    yaml.dump(params, path)
    for stage in ("fetch", "prepare", "augment"):
        process = made.aws.popen(["python", "-m", f"pipelines.{stage}", "digits"], made.folder, {})
        assert process.wait(timeout=180) == 0


def test_a_search_runs_on_workers(cluster: MakeCluster) -> None:
    main = cluster(gpus=0)
    small(main)
    main.fifty("up", "aws")
    search = main.shell(f"bash -lc 'cd fifty && {SEARCH} {EXPERIMENT}'")
    output, _ = search.communicate(timeout=480)
    assert search.returncode == 0, output
    assert len(main.nodes("worker", alive=False)) == 1
    results = main.aws.root / f"pretend/machines/{main.head()}/disk/home/ubuntu/fifty/results/{EXPERIMENT}/search"
    trials = parquet.read_table(results / "trials.parquet").to_pylist()
    assert len(trials) == TRIALS
    timings = parquet.read_table(results / "timings.parquet")
    costs = [dollars for name in timings.column_names if "usd" in name for dollars in timings[name].to_pylist()]
    assert costs
    assert all(dollars > 0 for dollars in costs)
    main.fifty("down")
    main.nothing_left()
