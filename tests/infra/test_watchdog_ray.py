"""The watchdog beside a real Ray, started by the very commands that a head is started by, in namespaces of its own."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra import ray_config
from infra.settings import CloudConfig
from infra.userdata import NodeFacts
from tests.infra.configs import run
from tests.infra.nodes import CHECKOUT, PYTHON, Site

DRIVER = """\
import sys, time, ray
ray.init(address="127.0.0.1:6379", log_to_driver=False, namespace="test")

@ray.remote(num_cpus=0)
class Actor:
    def answer(self): return 42

@ray.remote(num_cpus=0, num_gpus=1)
def train(): pass

if sys.argv[1] == "works":
    actor = Actor.remote()
    assert ray.get(actor.answer.remote()) == 42
else:
    task = train.remote()
open(sys.argv[2], "w").close()
time.sleep(600)
"""
SCRIPT = """\
set -e
mount -t tmpfs none /mnt
ip link set lo up
export HOME={user} RAY_TMPDIR=/mnt RAY_NODE_TYPE_NAME=head RAY_enable_autoscaler_v2=1
unset PYTHONPATH
{token}
({start}) >{folder}/start.log 2>&1 || {{ cat {folder}/start.log; exit 1; }}
{ready}
look() {{
    (cd {folder} && PYTHONPATH={checkout} {python} -B -m infra.node.watchdog) >>{folder}/looks.log 2>&1
    cp {folder}/state/view.json {folder}/$1.json
}}
drive() {{
    rm -f {folder}/there
    RAY_AUTH_MODE=token {checkout}/.venv/bin/python {folder}/driver.py $1 {folder}/there >>{folder}/driver.log 2>&1 &
    for i in $(seq 600); do [ -e {folder}/there ] && return; sleep 0.1; done
    cat {folder}/driver.log; exit 1
}}
look alone
drive works; sleep 2; look works
kill -9 $!; sleep 2; look killed
drive waits; sleep 2; look waits
for p in /proc/[0-9]*; do
    ! tr '\\0' '\\n' <$p/cmdline | grep -q '^/.*/ray/autoscaler/v2/monitor.py$' || kill -9 ${{p#/proc/}}
done
sleep 1; look unmonitored
ls -l {user}/.ray/auth_token; cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' >{folder}/commands
"""


@pytest.mark.slow
def test_it_sees_what_a_real_ray_does(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare: a head's ports are fixed, and others' Ray must not be seen")
    site = Site(tmp_path)
    deadline = datetime.now(UTC) + timedelta(hours=1)
    site.born(NodeFacts("aws", "eu-west-1", "fifty", "main", "fifty-1", "head", deadline, 60.0))
    (tmp_path / "user/fifty").mkdir()
    (tmp_path / "user/fifty/.venv").symlink_to(CHECKOUT / ".venv")
    (tmp_path / "driver.py").write_text(DRIVER)
    config = ray_config.common(run("aws"), CloudConfig(), root=CHECKOUT)
    here = {name: _here(config[name], tmp_path) for name in ("head_setup_commands", "head_start_ray_commands")}
    script = SCRIPT.format(
        user=tmp_path / "user",
        folder=tmp_path,
        checkout=CHECKOUT,
        python=PYTHON,
        token=here["head_setup_commands"][1],
        start=here["head_start_ray_commands"][1].replace(
            "--autoscaling-config=~/ray_bootstrap_config.yaml", "--num-cpus=1"
        ),
        ready=here["head_start_ray_commands"][3],
    )
    names = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net"]
    environment = {**site.environment, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    done = subprocess.run(
        [*names, "bash", "-c", script], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = {name: _seen(tmp_path, name) for name in ("alone", "works", "killed", "waits", "unmonitored")}
    looks = (tmp_path / "looks.log").read_text()
    assert seen == {
        "alone": (True, False, False, False),
        "works": (True, True, True, False),
        "killed": (True, False, False, False),
        "waits": (True, True, False, True),
        "unmonitored": (False, True, False, True),
    }, looks
    assert "does not answer" not in looks
    token = (tmp_path / "user/.ray/auth_token").read_text()
    assert "-rw-------" in done.stdout
    assert token not in (tmp_path / "commands").read_text()
    assert token not in (tmp_path / "start.log").read_text()
    assert "127.0.0.1:8265" in (tmp_path / "start.log").read_text()


def _here(commands: list[str], folder: Path) -> list[str]:
    return [line.replace("/var/lib/fifty", f"{folder}/state") for line in commands]


def _seen(folder: Path, name: str) -> tuple[bool, ...]:
    view: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return tuple(view[key] for key in ("monitor_alive", "driver_alive", "busy", "waiting"))
