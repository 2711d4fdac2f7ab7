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
    config = case["case"]
    import pytorch_lightning as pl
    import torch
    import torch.nn.functional as F  # noqa: N812
    from ray import tune
    from torch.utils.data import DataLoader, TensorDataset

    from tests.benchmarks.rivals.plain import BATCH, EPOCHS, Log, network, read

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    own, note = config["own"], Log(Path(config["log"]))

    class Model(pl.LightningModule):
        """The network as a person would write it for Lightning."""

        def __init__(self) -> None:
            super().__init__()
            self.net = network(own["dropout"])

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            """Return the loss of a batch."""
            x, y = batch
            loss = F.cross_entropy(self.net(x), y, label_smoothing=own["label_smoothing"])
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Log loss and accuracy of a batch."""
            x, y = batch
            logits = self.net(x)
            self.log("val_loss", F.cross_entropy(logits, y))
            self.log("val_accuracy", (logits.argmax(1) == y).float().mean())

        def configure_optimizers(self) -> Any:
            """Return optimizer and schedule."""
            optimizer = torch.optim.AdamW(self.parameters(), lr=own["lr"], weight_decay=own["weight_decay"])
            steps = int(self.trainer.estimated_stepping_batches)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    class Report(pl.Callback):
        """Reports to Tune after each validation."""

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            """Report the figures of the epoch."""
            figures = {name: value.item() for name, value in trainer.callback_metrics.items()}
            note(config["trial"], trainer.current_epoch + 1, figures["val_accuracy"])
            tune.report(figures)

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
        callbacks=[Report()],
    )
    trainer.fit(Model(), DataLoader(train, batch_size=BATCH, shuffle=True), DataLoader(val, batch_size=1024))


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
