"""Ray Tune with Lightning as its documentation shows it: an actor for each trial, two at a time; or actors reused.

python -m tests.benchmarks.rivals.tune_lightning CONFIGS PREPARED LOG [--reuse]
"""

import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

CONCURRENT = 2


def trainable(case: dict[str, Any]) -> None:
    """Train one configuration by Lightning's Trainer and report after each epoch."""
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader, TensorDataset

    from tests.benchmarks.rivals.lightning_model import Model, Report
    from tests.benchmarks.rivals.plain import BATCH, EPOCHS, Log, read

    config = case["case"]
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    note = Log(Path(config["log"]))
    note(config["trial"], 0, 0.0)
    pl.seed_everything(config["trial"], verbose=False)
    prepared = Path(config["prepared"])
    train, val = (TensorDataset(*read(prepared, part)) for part in ("train", "val"))
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Report(config["trial"], note)],
    )
    model = Model(config["own"])
    trainer.fit(model, DataLoader(train, batch_size=BATCH, shuffle=True), DataLoader(val, batch_size=1024))


def main() -> None:
    """Search."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_UV_RUN_RUNTIME_ENV="0", RAY_AIR_NEW_OUTPUT="0")
    import ray
    from ray import tune

    # By its module, so that Ray does not pickle it piece by piece.
    from tests.benchmarks.rivals.tune_lightning import trainable

    configs = json.loads(Path(sys.argv[1]).read_text())
    cases = [
        {"trial": trial, "own": own, "prepared": sys.argv[2], "log": sys.argv[3]} for trial, own in enumerate(configs)
    ]
    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=CONCURRENT, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={"case": tune.grid_search(cases)},
            tune_config=tune.TuneConfig(max_concurrent_trials=CONCURRENT, reuse_actors="--reuse" in sys.argv),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        ray.shutdown()
    if results.errors:
        sys.exit(f"{len(results.errors)} of {len(results)} trials failed: {results.errors[0]}")


if __name__ == "__main__":
    main()
