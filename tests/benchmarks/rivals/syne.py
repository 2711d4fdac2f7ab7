"""Syne Tune with its local backend and ASHA: a process for each trial, two at a time; bad ones are stopped.

python -m tests.benchmarks.rivals.syne CONFIGS PREPARED LOG
"""

import json
import logging
import os
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

WORKERS = 2
NAMES = ("lr", "weight_decay", "dropout", "label_smoothing")


def trial() -> None:
    """Be one trial: train and report after each epoch, as Syne Tune's guide shows it."""
    import torch
    from syne_tune import Reporter

    from tests.benchmarks.rivals.plain import Log, train

    parser = ArgumentParser()
    for name in NAMES:
        parser.add_argument(f"--{name}", type=float)
    for name in ("prepared", "log"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--seed", type=int)
    given, _ = parser.parse_known_args()
    torch.set_num_threads(1)
    report, note = Reporter(), Log(given.log)
    config = {name: getattr(given, name) for name in NAMES}
    note(given.seed, 0, 0.0)
    for epoch, accuracy in enumerate(train(config, given.seed, given.prepared), 1):
        note(given.seed, epoch, accuracy)
        report(epoch=epoch, accuracy=accuracy)


def search(configs: Path, prepared: Path, log: Path) -> None:
    """Run all configurations under ASHA."""
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import randint, uniform
    from syne_tune.optimizer.baselines import ASHA

    from tests.benchmarks.rivals.plain import EPOCHS

    logging.getLogger().setLevel(logging.ERROR)
    points = [{**config, "seed": number} for number, config in enumerate(json.loads(configs.read_text()))]
    space = {name: uniform(0.0, 1.0) for name in NAMES} | {"seed": randint(0, len(points))}
    scheduler = ASHA(
        {**space, "prepared": str(prepared), "log": str(log)},
        metric="accuracy",
        time_attr="epoch",
        max_t=EPOCHS,
        do_minimize=False,
        random_seed=0,
        points_to_evaluate=points,
    )
    Tuner(
        trial_backend=LocalBackend(entry_point=__file__),
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_started=len(points)),
        n_workers=WORKERS,
        # Its default of five seconds would be most of a trial of ours.
        sleep_time=0.2,
        print_update_interval=1e9,
        save_tuner=False,
    ).run()


def main() -> None:
    """Search in a folder that is deleted afterwards."""
    if any(argument.startswith("--lr") for argument in sys.argv):
        trial()
        return
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNETUNE_FOLDER"] = folder
        search(*map(Path, sys.argv[1:4]))


if __name__ == "__main__":
    main()
