"""Optuna in one process with its median pruner and plain PyTorch on two threads.

python -m tests.benchmarks.rivals.pruned CONFIGS PREPARED LOG
"""

import json
import sys
from pathlib import Path

THREADS = 2


def main() -> None:
    """Try all configurations, and let the pruner stop those that do badly."""
    import optuna
    import torch

    from tests.benchmarks.rivals.plain import Log, train

    configs, prepared, log = map(Path, sys.argv[1:4])
    note = Log(log)
    torch.set_num_threads(THREADS)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    drawn = json.loads(configs.read_text())
    for config in drawn:
        study.enqueue_trial(config)

    def objective(trial: optuna.Trial) -> float:
        config = {name: trial.suggest_float(name, 0.0, 1.0) for name in sorted(drawn[0])}
        note(trial.number, 0, 0.0)
        best = 0.0
        for epoch, accuracy in enumerate(train(config, trial.number, prepared), 1):
            note(trial.number, epoch, accuracy)
            best = max(best, accuracy)
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return best

    study.optimize(objective, n_trials=len(drawn))


if __name__ == "__main__":
    main()
