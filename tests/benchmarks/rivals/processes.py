"""Two bare PyTorch processes of one thread each, half of the configurations each.

python -m tests.benchmarks.rivals.processes CONFIGS PREPARED LOG
"""

import json
import subprocess
import sys
from pathlib import Path

WORKERS = 2


def work(configs: Path, prepared: Path, log: Path, part: int) -> None:
    """Train every second configuration, one after another."""
    import torch

    from tests.benchmarks.rivals.plain import Log, train

    torch.set_num_threads(1)
    note = Log(log)
    for trial, config in list(enumerate(json.loads(configs.read_text())))[part::WORKERS]:
        note(trial, 0, 0.0)
        for epoch, accuracy in enumerate(train(config, trial, prepared), 1):
            note(trial, epoch, accuracy)


def main() -> None:
    """Start both processes, or be one of them."""
    if len(sys.argv) == 5:
        work(*map(Path, sys.argv[1:4]), part=int(sys.argv[4]))
        return
    command = [sys.executable, "-m", "tests.benchmarks.rivals.processes", *sys.argv[1:4]]
    running = [subprocess.Popen([*command, str(part)]) for part in range(WORKERS)]
    sys.exit(max(process.wait() for process in running))


if __name__ == "__main__":
    main()
