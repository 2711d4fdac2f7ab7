"""The pretended AWS itself: it leaves nothing behind, however it ends, and schedules fire in it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cloud.cluster import Cluster
from tests.pretend_aws.client import PretendAws
from tests.pretend_aws.faults import hide
from tests.pretend_aws.launch import ROOT, first_process

COMMAND = [sys.executable, "-m", "tests.pretend_aws"]


def children(process: int) -> list[int]:
    """A process's children and theirs, as long as they live."""
    try:
        own = [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    return own + [one for child in own for one in children(child)]


def test_a_command_runs_inside_and_leaves_nothing_outside(tmp_path: Path) -> None:
    left = tmp_path / "left"
    told = f"touch {left}; test -e {left} && fifty --help >/dev/null && env | grep -c ^AWS_ENDPOINT_URL && exit 7"
    done = subprocess.run([*COMMAND, "sh", "-c", told], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (7, "1"), done.stderr
    assert not left.exists()
    assert not Path("/sys/class/net/pretend0").exists()
    assert not Path("/pretend").exists()


def test_killed_it_takes_everything_along() -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = subprocess.Popen([*COMMAND, "sh", "-c", "echo here; sleep 600"], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"here\n"
        inside = children(process.pid)
        assert len(inside) >= 4  # unshare, the first process, the world, moto, the command
        process.send_signal(number)
        process.wait()
        until = time.monotonic() + 20
        while any(Path(f"/proc/{one}").exists() for one in inside) and time.monotonic() < until:
            time.sleep(0.1)
        assert not [one for one in inside if Path(f"/proc/{one}").exists()]
        process.stdout.close()


def test_a_schedule_ends_a_machine(aws: PretendAws, cluster: Callable[..., Cluster]) -> None:
    ec2 = aws.client("ec2")
    made = cluster()
    image, subnet = ec2.describe_images()["Images"][0]["ImageId"], ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    tags = [{"Key": "fifty-cluster", "Value": made.name}]
    launched = ec2.run_instances(
        ImageId=image, SubnetId=subnet, InstanceType="m5.large", MinCount=1, MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )  # fmt: skip
    name = launched["Instances"][0]["InstanceId"]
    made.wait("it is on", lambda: name in aws.machines())
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    aws.client("scheduler").create_schedule(
        Name="end",
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances",
            "RoleArn": "arn:aws:iam::123456789012:role/end",
            "Input": json.dumps({"InstanceIds": [name]}),
        },
    )
    made.all_off(30)
    assert datetime.now(UTC) >= at
    assert not aws.client("scheduler").list_schedules()["Schedules"]
    made.wait("it is off", lambda: name not in aws.machines(), 30)


def test_hidden_machines_are_taken_out_of_the_answer() -> None:
    one = "<item><instancesSet><item><instanceId>{}</instanceId></item></instancesSet></item>"
    space = "http://ec2.amazonaws.com/doc/2016-11-15/"
    items = one.format("i-1") + one.format("i-2")
    answer = f'<R xmlns="{space}"><reservationSet>{items}</reservationSet></R>'.encode()
    left = hide(answer, {"i-1"})
    assert b"i-1" not in left
    assert b"i-2" in left
    assert hide(answer, set()).count(b"instanceId>") == answer.count(b"instanceId>")


def test_it_runs_in_namespaces_of_its_own(aws: PretendAws) -> None:
    process = aws.popen(["sleep", "60"], aws.home, {})
    try:
        inside = first_process(process.pid)
        for kind in ("net", "mnt", "pid"):
            assert os.readlink(f"/proc/{inside}/ns/{kind}") != os.readlink(f"/proc/{os.getppid()}/ns/{kind}")  # noqa: PTH115
    finally:
        aws.send(process, signal.SIGKILL)
        process.wait()
