"""Ray for one search: closed to whoever lacks the token, and gone without a trace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import interrupts
from pipelines.local_ray import SETTINGS, import_ray, local_ray

CONNECT = "import ray, sys; ray.init(address=sys.argv[1]); print(ray.cluster_resources())"


@pytest.mark.slow
def test_ray_admits_its_own_driver_alone_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SETTINGS, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "PYTHONPATH"):
        monkeypatch.setenv(name, "")  # so that monkeypatch puts them back
    monkeypatch.setattr(interrupts, "install", lambda: None)
    import_ray()
    with local_ray(1) as folder:
        import ray

        assert ray.get(ray.remote(lambda: 2).remote()) == 2
        address = ray.get_runtime_context().gcs_address
        stranger = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "COV"))}
        tried = subprocess.run(
            [sys.executable, "-c", CONNECT, address], env=stranger, capture_output=True, text=True, check=False
        )
        assert tried.returncode != 0
        assert "CPU" not in tried.stdout
    assert not folder.exists()
    assert str(folder) not in subprocess.check_output(["ps", "-eo", "args"], text=True)


def test_what_a_killed_search_left_is_swept(tmp_path: Path) -> None:
    from pipelines.local_ray import _sweep

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f"fifty-{ended.pid}-left" / "ray").mkdir(parents=True)
    (tmp_path / f"fifty-{os.getpid()}-mine").mkdir()
    (tmp_path / "fifty-notes-mine").mkdir()
    _sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"fifty-{os.getpid()}-mine", "fifty-notes-mine"}
