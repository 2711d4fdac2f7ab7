"""A search that Tune places outlives Ray's raylet for long enough to say so."""

import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own, for it may end.
BEREFT = """
import os, sys, threading, time
from pathlib import Path

import psutil

from pipelines.local_ray import import_ray, local_ray, scratch
from pipelines.ray_processes import kill_all, living_servers

import_ray()
from ray import tune

from pipelines.searching import cohort_tuner


def trains(config, task):
    Path(task["begun"]).touch()
    time.sleep(60)


begun = Path("begun").resolve()
with scratch() as folder, local_ray(1, folder):
    trainable = cohort_tuner._enclosing(trains, {"begun": str(begun)})
    config = tune.RunConfig(name="search", storage_path=str(folder), verbose=0)
    threading.Thread(target=tune.Tuner(trainable, run_config=config).fit, daemon=True).start()
    while not begun.exists():
        time.sleep(0.1)
    time.sleep(1)
    living_servers(psutil.Process().children(recursive=True))["raylet"].terminate()
    time.sleep(5)
    print("alive", flush=True)
    kill_all(os.environ["RAY_AUTH_TOKEN"])
    os._exit(0)
"""


@pytest.mark.slow
def test_a_search_does_not_end_without_a_word_when_its_raylet_does(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BEREFT], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["alive"], (done.returncode, done.stdout, done.stderr)
