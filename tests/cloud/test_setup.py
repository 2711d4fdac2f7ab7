"""The set-up as it is on a real machine: the environment is made from uv.lock, and nothing is there before."""

import subprocess
from pathlib import Path

import pytest

from tests.cloud.cluster import Cluster
from tests.pretend_aws.client import PretendAws
from tests.pretend_aws.launch import ROOT
from tests.pretend_aws.machine import uv


def cache() -> str:
    """uv's cache, if all of uv.lock is in it; else the test has no index to install from, and is skipped."""
    command = uv()
    if command is None:
        pytest.skip("there is no uv")
    folder = subprocess.run([command, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    trial = [command, "sync", "--locked", "--no-dev", "--offline", "--dry-run", "--reinstall"]
    done = subprocess.run(trial, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"uv's cache lacks something of uv.lock: {done.stderr.strip().splitlines()[-1]}")
    return str(Path(folder).resolve())


def test_a_head_is_set_up_from_the_lock_file(tmp_path: Path) -> None:
    aws = PretendAws(tmp_path / "log", cache=cache())
    try:
        main = Cluster(aws, "main")
        main.fifty("up", "aws", timeout=600)
        told = aws.on_machine(
            main.head(), "cd /home/ubuntu/fifty && readlink .venv; .venv/bin/python -c 'import torch'"
        )
        assert (told.returncode, told.stdout) == (0, ""), told
        main.fifty("down")
        main.nothing_left()
    finally:
        aws.close()
