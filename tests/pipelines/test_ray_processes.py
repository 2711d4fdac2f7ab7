"""Ray's servers are told from other processes."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from pipelines.ray_processes import living_servers


def test_a_process_that_ended_meanwhile_is_no_server(tmp_path: Path) -> None:
    program = tmp_path / "raylet"
    program.write_text("#!/bin/sh\nread line\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as raylet:
        living = psutil.Process(raylet.pid)
        ended = subprocess.Popen([sys.executable, "-c", ""])
        gone = psutil.Process(ended.pid)
        ended.wait()
        assert living_servers([gone, living, psutil.Process(os.getpid())]) == {"raylet": living}
        raylet.kill()
