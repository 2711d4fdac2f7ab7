"""Ray for one search: closed to whoever lacks the token, and gone without a trace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.local_ray import _sweep

# In a process of its own: Ray reads its token while it is imported, and other tests import it without one.
SEARCH = """
import os, subprocess, sys
import psutil
from pipelines.local_ray import import_ray, local_ray, scratch
from pipelines.ray_processes import is_dead

CONNECT = "import ray, sys; ray.init(address=sys.argv[1]); print(ray.cluster_resources())"
import_ray()
with scratch() as folder, local_ray(1, folder):
    import ray

    assert ray.get(ray.remote(lambda: 2).remote()) == 2
    left = [" ".join(process.cmdline()) for process in psutil.Process().children() if not is_dead(process)]
    assert any("raylet" in command for command in left)
    assert not any("/monitor.py" in command for command in left), "nothing is to be scaled"
    address = ray.get_runtime_context().gcs_address
    stranger = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "COV"))}
    command = [sys.executable, "-c", CONNECT, address]
    tried = subprocess.run(command, env=stranger, capture_output=True, text=True)
    assert tried.returncode != 0, tried.stdout
    assert "CPU" not in tried.stdout
assert not folder.exists()
print(folder)
"""
# As a signal to the whole process group leaves it.
BEREFT = """
import os
import psutil
from pipelines.local_ray import import_ray, local_ray, scratch
from pipelines.ray_processes import living_servers

import_ray()
with scratch() as folder, local_ray(1, folder):
    import ray

    ray.get(ray.remote(lambda: 2).remote())
    for server in living_servers(psutil.Process().children(recursive=True)).values():
        server.kill()
        server.wait()
assert ray.is_initialized(), "its own shutdown would have waited for them"
assert not folder.exists()
print(folder, flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_servers_that_are_dead_are_not_waited_for_and_what_they_left_is_ended() -> None:
    done = subprocess.run([sys.executable, "-c", BEREFT], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() not in subprocess.check_output(["ps", "-eo", "args"], text=True)


@pytest.mark.slow
def test_ray_admits_its_own_driver_alone_and_leaves_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", SEARCH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip().splitlines()[-1]
    assert Path(folder).name.startswith("fifty-")
    assert folder not in subprocess.check_output(["ps", "-eo", "args"], text=True)


def test_what_a_killed_search_left_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"fifty-{ended.pid}-left" / "ray").mkdir(parents=True)
    (tmp_path / f"fifty-{os.getpid()}-mine").mkdir()
    (tmp_path / "fifty-notes-mine").mkdir()
    _sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"fifty-{os.getpid()}-mine", "fifty-notes-mine"}
