"""A person's project folder in the pretended AWS, and what a test does and asks there."""

import contextlib
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.pretend_aws.client import PretendAws
from tests.pretend_aws.launch import ROOT

CODE = ("infra", "pipelines", "lit_models")
SENT = (*CODE, "pyproject.toml", "uv.lock", "README.md", "params.yaml", "dvc.yaml", ".dvc/config")
HERE = "172.31.255.1/32"  # the person's address
JOB = """
import ray, socket
ray.init(address="auto", log_to_driver=False)

@ray.remote(num_gpus=1, max_retries=-1)
def work(seconds):
    import socket, time
    time.sleep(seconds)
    return socket.gethostname()

print("asked", flush=True)
print("ran on", ray.get(work.remote({seconds})), flush=True)
"""


class Cluster:
    """One cluster, with its folder.

    Attributes:
        folder: of the project, as the person sees it.
        outside: the same folder, as this process sees it.
        note: told what was measured, in words and seconds.
    """

    def __init__(self, aws: PretendAws, name: str, **settings: Any) -> None:
        self.aws, self.name = aws, name
        self.folder = f"{aws.home}/{name}-{time.monotonic_ns()}"
        self.outside = aws.root / self.folder.lstrip("/")
        self.outside.mkdir(parents=True)
        for one in SENT:
            if (ROOT / one).is_dir():
                shutil.copytree(ROOT / one, self.outside / one, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (self.outside / one).parent.mkdir(exist_ok=True)
                shutil.copy(ROOT / one, self.outside / one)
        short = {"workers": 1, "hours": 0.5, "idle_minutes": 1.0, "setup_minutes": 1.0}
        self.note: Callable[[str, float], None] = lambda *_: None
        self.change(**{"cluster": name, "ssh_from": HERE, **short, **settings})

    def change(self, **settings: Any) -> None:
        """Change settings of the section `cloud`."""
        yaml, path = YAML(), self.outside / "params.yaml"
        params = yaml.load(path)
        params.setdefault("cloud", {}).update(settings)
        yaml.dump(params, path)

    def start(self, *arguments: str, **popen: Any) -> "subprocess.Popen[str]":
        """Start `fifty`; what it says can be read from its stdout."""
        return self.aws.popen(
            ["fifty", *arguments], self.folder, {}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen
        )

    def fifty(self, *arguments: str, code: int = 0, timeout: float = 400) -> str:
        """Run `fifty` to its end and return what it said."""
        process = self.start(*arguments)
        try:
            said = process.communicate(timeout=timeout)[0]
        finally:
            self.kill(process)
        assert process.returncode == code, f"fifty {' '.join(arguments)}: {process.returncode}\n{said}\n{self.log()}"
        assert "Traceback" not in said, said
        return said

    def kill(self, process: "subprocess.Popen[str]", number: int = signal.SIGKILL) -> None:
        """End a command by a signal, and wait for its end."""
        self.aws.send(process, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=60)
        process.kill()
        process.communicate()

    def log(self) -> str:
        """The end of what `ray up` said last."""
        path = self.outside / f".fifty/cloud/{self.name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def nodes(self, role: str = "", *, alive: bool = True) -> list[dict[str, Any]]:
        """Machines of this cluster as the cloud tells of them, oldest first; the dead as well if not `alive`."""
        filters = [{"Name": "tag:fifty-cluster", "Values": [self.name]}]
        if role:
            filters.append({"Name": "tag:fifty-role", "Values": [role]})
        reservations = self.aws.client("ec2").describe_instances(Filters=filters)["Reservations"]
        found = [instance for reservation in reservations for instance in reservation["Instances"]]
        found = [one for one in found if not alive or one["State"]["Name"] != "terminated"]
        return sorted(found, key=lambda one: one["LaunchTime"])

    def head(self) -> str:
        """The id of the head."""
        return str(self.nodes("head")[-1]["InstanceId"])

    def worker(self) -> str:
        """The id of the newest worker."""
        return str(self.nodes("worker")[-1]["InstanceId"])

    def shell(self, command: str, text: str = "", **popen: Any) -> "subprocess.Popen[str]":
        """Run a command on the head by SSH, as a person does, with `text` as its input."""
        address = self.nodes("head")[-1]["PublicIpAddress"]
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        ssh = ["ssh", "-i", f".fifty/cloud/{self.name}.pem", *options, f"ubuntu@{address}", command]
        process = self.aws.popen(
            ssh, self.folder, {}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen
        )
        assert process.stdin
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None  # else `communicate` would flush it
        return process

    def job(self, seconds: float = 0) -> "subprocess.Popen[str]":
        """Start a driver on the head whose only task wants a GPU, and so a worker."""
        return self.shell("bash -lc 'cd fifty && exec .venv/bin/python -'", JOB.replace("{seconds}", str(seconds)))

    def wait(self, what: str, until: Callable[[], object], seconds: float = 120) -> float:
        """Wait until something is so; how long it took."""
        began = time.monotonic()
        while not until():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"after {seconds:.0f} s still not: {what}\n{self.told()}")
            time.sleep(0.5)
        return time.monotonic() - began

    def wait_for_worker(self, seconds: float = 150) -> str:
        """Wait until a worker is set up and at work."""
        ready = "test -e /var/lib/fifty/marks/ready"

        def up() -> bool:
            on = self.aws.machines().keys() & {node["InstanceId"] for node in self.nodes("worker")}
            return any(self.aws.on_machine(one, ready).returncode == 0 for one in on)

        self.wait("a worker is set up", up, seconds)
        return self.worker()

    def all_off(self, seconds: float = 120) -> float:
        """Wait until every machine has ended, with nobody's help."""
        taken = self.wait("all machines have ended", lambda: not self.nodes(), seconds)
        self.note("until all was off", taken)
        return taken

    def told(self) -> str:
        """What there is to say of the machines when something is not as it should be."""
        lines = []
        for node in self.nodes(alive=False):
            lines.append(f"{node['InstanceId']} {node['State']['Name']} since {node['LaunchTime']}")
            folder = self.aws.root / f"pretend/machines/{node['InstanceId']}"
            for name in (
                "upper/tmp/ray/session_latest/logs/monitor.log",
                "boot.log",
                "upper/var/log/cloud-init-output.log",
                "upper/var/log/units.log",
            ):
                if (folder / name).exists():
                    lines.append(f"{name}: " + (folder / name).read_text(errors="replace")[-1500:])
        return "\n".join(lines)

    def nothing_left(self) -> None:
        """What every scenario ends with: no machine, no disk, no group and key of ours, and the ledger settled."""
        ec2, iam, ssm = self.aws.client("ec2"), self.aws.client("iam"), self.aws.client("ssm")
        assert not self.nodes(), self.told()
        tagged = [{"Name": "tag:fifty-cluster", "Values": [self.name]}]
        assert not ec2.describe_volumes()["Volumes"]
        assert not ec2.describe_addresses()["Addresses"]
        assert not ec2.describe_security_groups(Filters=tagged)["SecurityGroups"]
        assert not ec2.describe_key_pairs()["KeyPairs"]
        names = [one["InstanceProfileName"] for one in iam.list_instance_profiles()["InstanceProfiles"]]
        names += [one["RoleName"] for one in iam.list_roles()["Roles"]]
        names += [one["Name"] for one in ssm.describe_parameters()["Parameters"]]
        names += [one["Name"] for one in self.aws.client("scheduler").list_schedules()["Schedules"]]
        assert not [name for name in names if f"fifty-{self.name}" in name or f"/{self.name}/" in name]
        assert not list((self.outside / ".fifty/cloud").glob(f"{self.name}.[jpy]*"))
        events = self.ledger()
        reserved = {event["run"]: event["dollars"] for event in events if event["kind"] == "reserved"}
        settled = {event["run"]: event["dollars"] for event in events if event["kind"] == "settled"}
        assert reserved.keys() == settled.keys()
        assert all(0 <= settled[run] <= reserved[run] for run in reserved), events

    def ledger(self) -> list[dict[str, Any]]:
        """The events of the ledger in the bucket, in order."""
        s3 = self.aws.client("s3")
        events = []
        for bucket in s3.list_buckets()["Buckets"]:
            for listed in s3.list_objects_v2(Bucket=bucket["Name"], Prefix="ledger/").get("Contents", []):
                body = s3.get_object(Bucket=bucket["Name"], Key=listed["Key"])["Body"].read()
                events.append((listed["Key"], json.loads(body)))
        return [event for _, event in sorted(events, key=lambda pair: pair[0])]

    def runs(self) -> set[str]:
        """The runs that have been reserved."""
        return {event["run"] for event in self.ledger() if event["kind"] == "reserved"}


def read_until(process: "subprocess.Popen[str]", pattern: str) -> str:
    """Read what a command says until a line matches; all that was read."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if re.search(pattern, line):
            return said
    raise AssertionError(f"it never said {pattern!r}:\n{said}")


def replace_in(path: Path, old: str, new: str) -> None:
    """Change a file of a project."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
