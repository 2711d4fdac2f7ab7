"""UserData: small enough, sound bash, and run for real, as root, in namespaces of its own with pretended systemd."""

import base64
import os
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.cluster import Role
from infra.userdata import LIMIT, NODE, SHARED, NodeFacts, by_hand, install, main, userdata
from tests.infra.configs import run
from tests.infra.nodes import NOTHING_THERE

AT = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)
LONG = NodeFacts("aws", "ap-southeast-2", "p" * 32, "c" * 16, "r" * 63, "worker", AT, 10.0)


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_the_longest_is_small_enough_for_ec2(cloud: str) -> None:
    text = userdata(replace(LONG, cloud=cloud))
    assert len(text.encode()) < LIMIT
    assert text.isascii()
    assert base64.b64decode(base64.b64encode(text.encode())).decode() == text


@pytest.mark.parametrize("role", ["head", "worker"])
def test_what_launches_by_hand_can_be_read_by_a_person(role: Role) -> None:
    text = by_hand(role)
    assert max(map(len, text.splitlines())) < 200
    assert "base64" not in text
    assert "lzma" not in text


@pytest.mark.parametrize(
    "text",
    [userdata(LONG), by_hand("head"), by_hand("worker", "gcp", ssh_from="203.0.113.7"), install("gcp")],
    ids=["run", "hand-head", "hand-worker", "install"],
)
def test_it_is_sound_bash(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize("path", sorted(NODE.glob("*.sh")), ids=lambda path: path.name)
def test_every_script_is_sound(path: Path) -> None:
    shell = "bash" if "bash" in path.read_text().splitlines()[0] else "sh"
    subprocess.run([shell, "-n", str(path)], check=True)


def test_it_is_the_same_every_time_for_a_change_replaces_the_head() -> None:
    command = [sys.executable, "-c", "from infra.userdata import install; print(install('aws'))"]
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert again.rstrip("\n") == install("aws").rstrip("\n")


def test_the_switch_is_armed_before_anything_that_can_fail() -> None:
    text = userdata(LONG)
    armed = text.index("systemctl enable --now fifty-deadman.timer")
    assert armed < text.index("/usr/bin/python3 -c")
    before = [line.split()[0] for line in _commands(text[:armed])]
    assert set(before) <= {"umask", "mkdir", "chmod", "[", "echo", "cat", "systemctl"}


def _commands(script: str) -> list[str]:
    """The lines of a script that are neither comments nor the text of a file."""
    lines, inside = [], False
    for line in script.splitlines():
        if not inside and line and not line.startswith("#"):
            lines.append(line)
        inside = line.endswith("<<'FIFTY'") or (inside and line != "FIFTY")
    return lines


def test_a_node_has_one_deadline_or_one_life() -> None:
    with pytest.raises(ValueError, match="either"):
        replace(LONG, deadline=None)
    with pytest.raises(ValueError, match="either"):
        replace(LONG, relative_seconds=60)


def test_the_command_prints_what_the_set_up_and_the_yaml_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "aws"]) == 0
    assert capsys.readouterr().out == install("aws") + "\n"
    assert main(["hand", "gcp", "worker"]) == 0
    assert capsys.readouterr().out == by_hand("worker", "gcp") + "\n"


def test_the_run_that_the_tests_render_is_of_the_kind_that_is_launched() -> None:
    assert run("aws").deadline.tzinfo is not None


SYSTEMCTL = """\
#!/bin/sh
# Stands in for systemd: of what is enabled, the service runs once.
echo "$*" >>/log/systemctl
[ "$1 $2" = "enable --now" ] || exit 0
name=${3%.timer}
grep -q '^OnBootSec=' /etc/systemd/system/$name.timer || exit 1
grep -q '^WantedBy=timers.target' /etc/systemd/system/$name.timer || exit 1
sh -c "$(sed -n 's/^ExecStart=//p' /etc/systemd/system/$name.service)" >>/log/$name 2>&1
"""
SANDBOX = """\
set -e
mount --make-rprivate /
mount -t tmpfs none /opt; mount -t tmpfs none /var/lib; mount -t tmpfs none /etc/systemd/system
mkdir -p /etc/ssh/sshd_config.d; mount -t tmpfs none /etc/ssh/sshd_config.d
mkdir /opt/log; mount -t tmpfs none /mnt; mkdir /mnt/bin
ip link set lo up
cp {folder}/systemctl {folder}/shutdown /mnt/bin; chmod 755 /mnt/bin/*
export PATH=/mnt/bin:$PATH
cp -r {folder}/script /opt/script
bash /opt/script || true
echo ran; ls /opt/fifty /opt/fifty/infra/node 2>/dev/null || true; cat /etc/ssh/sshd_config.d/* 2>/dev/null || true
echo again; bash /opt/script || true
{more}
"""


def sandbox(folder: Path, script: str, more: str = "") -> tuple[str, Path]:
    """Run UserData as a machine's root would; returns what the machine shows and the folder of its logs."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare: UserData writes to /opt, /var/lib and /etc")
    logs = folder / "log"
    logs.mkdir()
    (folder / "script").write_text(script)
    (folder / "systemctl").write_text(SYSTEMCTL.replace("/log/", f"{logs}/"))
    (folder / "shutdown").write_text(f'#!/bin/sh\necho "$*" >>{logs}/shutdown\n')
    text = SANDBOX.format(folder=folder, more=more)
    names = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    environment = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": NOTHING_THERE, "AWS_ACCESS_KEY_ID": "x"}
    done = subprocess.run(
        [*names, "bash", "-c", text], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    if done.returncode and "Operation not permitted" in done.stderr:
        pytest.skip(f"namespaces are not allowed here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout, logs


def facts(role: Role, deadline: datetime) -> NodeFacts:
    return NodeFacts("aws", "eu-west-1", "fifty", "main", "fifty-1", role, deadline, 10.0)


@pytest.mark.parametrize("role", ["head", "worker"])
def test_for_real_it_arms_the_switch_and_installs_the_watchdog(tmp_path: Path, role: Role) -> None:
    shown, logs = sandbox(tmp_path, userdata(facts(role, datetime.now(UTC) + timedelta(hours=1))))
    assert {f"{name}.py" for name in (*SHARED, "aws_state", "sigv4")} <= set(shown.split())
    calls = (logs / "systemctl").read_text().splitlines()
    reload = "daemon-reload"
    once = [reload, "enable --now fifty-deadman.timer", reload, reload, "enable --now fifty-watchdog.timer"]
    assert calls == once * 2
    # At the first look the Python part is not there yet, at the second it is, and says that AWS is out of reach.
    assert "cannot be read" in (logs / "fifty-deadman").read_text()
    assert "Traceback" not in (logs / "fifty-watchdog").read_text() + (logs / "fifty-deadman").read_text()
    assert not (logs / "shutdown").exists()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
    verify = (
        "systemd-analyze verify --man=no /etc/systemd/system/fifty-*.timer /etc/systemd/system/fifty-*.service 2>&1"
    )
    shown, _ = sandbox(
        tmp_path, userdata(facts("head", datetime.now(UTC) + timedelta(hours=1))), f"{verify} | grep fifty || true"
    )
    assert "fifty-" not in shown.split("again")[1]


def test_for_real_a_machine_that_boots_past_its_deadline_goes_off_at_once(tmp_path: Path) -> None:
    _, logs = sandbox(tmp_path, userdata(facts("worker", datetime.now(UTC) - timedelta(seconds=1))))
    assert (logs / "shutdown").read_text().splitlines()[0] == "-h now"


def test_for_real_it_goes_off_without_python(tmp_path: Path) -> None:
    broken = userdata(facts("head", datetime.now(UTC) - timedelta(seconds=1))).replace("/usr/bin/python3", "/nowhere")
    _, logs = sandbox(tmp_path, broken)
    assert "the shell decides" not in (logs / "fifty-deadman").read_text()
    assert (logs / "shutdown").exists()


def test_for_real_the_head_launched_by_hand_lives_for_its_time_once_it_is_set_up(tmp_path: Path) -> None:
    long_ago = int(time.time()) - 3 * 3600
    told = textwrap.dedent(f"""
        look() {{ sh /opt/fifty/deadman; [ -e {tmp_path}/log/shutdown ] && echo OFF || echo ON; }}
        look
        echo {long_ago} >/var/lib/fifty/booted
        cp /var/lib/fifty/booted /var/lib/fifty/marks/launched; look
        rm /var/lib/fifty/marks/launched; echo {long_ago + 1800} >/opt/fifty/deadline; look
    """)
    shown, _ = sandbox(tmp_path, by_hand("head", ssh_from="203.0.113.7"), told)
    assert [word for word in shown.split() if word in ("ON", "OFF")] == ["ON", "ON", "OFF"]
    assert "AllowUsers *@10.0.0.0/8 *@172.16.0.0/12 *@192.168.0.0/16 *@203.0.113.7" in shown


def test_for_real_nobody_outside_gets_in_until_an_address_is_filled_in(tmp_path: Path) -> None:
    shown, _ = sandbox(tmp_path, by_hand("head"))
    assert "AllowUsers *@10.0.0.0/8 *@172.16.0.0/12 *@192.168.0.0/16\n" in shown
