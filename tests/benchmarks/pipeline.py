"""How long the whole pipeline takes, and how good its winners are: a table, on this machine.

    python -m tests.benchmarks.pipeline

A copy of the checkout is reproduced from nothing, packages already installed; then again with nothing to do.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
STAGES = ("fetch", "prepare", "augment", "search", "train", "evaluate", "report")
TARGETS = {"digits-mlp": 0.96, "digits-cnn": 0.98, "digits-resnet": 0.98}
ROUNDS = 5


def timed(*command: str, cwd: Path) -> float:
    """Wall seconds of a command that must succeed."""
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - began


def row(name: str, value: str, target: str) -> None:
    """Print a line of the table."""
    print(f"{name:<52}{value:>12}{target:>16}", flush=True)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="fifty-bench-") as folder:
        copy = Path(folder) / "fifty"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
        for name in ("params.yaml", "dvc.yaml", "pipelines", "lit_models"):  # as they are, committed or not
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / name, copy / name)
        (copy / "dvc.lock").unlink(missing_ok=True)
        row("", "measured", "to reach")
        row("cold dvc repro, all default experiments, s", f"{timed('dvc', 'repro', cwd=copy):.1f}", "at most 720")
        idle = statistics.median(timed("dvc", "repro", cwd=copy) for _ in range(ROUNDS))
        row(f"dvc repro with nothing to do, s (median of {ROUNDS})", f"{idle:.2f}", "at most 3.5")
        for stage in STAGES:
            command = (sys.executable, "-m", f"pipelines.{stage}", "--help")
            seconds = statistics.median(timed(*command, cwd=copy) for _ in range(ROUNDS))
            row(f"python -m pipelines.{stage} --help, s (median of {ROUNDS})", f"{seconds:.2f}", "at most 0.5")
        for key, target in TARGETS.items():
            scores = json.loads((copy / "results" / key / "metrics.json").read_text())
            row(f"test accuracy of {key}'s winner", f"{scores['accuracy']:.4f}", f"at least {target}")


if __name__ == "__main__":
    main()
