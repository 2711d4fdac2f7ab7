"""A person's project folder in a pretended cloud, and what a test does there."""

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.pretend_aws.client import Pretended
from tests.pretend_aws.launch import ROOT

CODE = ("infra", "pipelines", "lit_models")
SENT = (*CODE, "pyproject.toml", "uv.lock", "README.md", "params.yaml", "dvc.yaml", ".dvc/config")
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


class Project:
    """One cluster, with its folder; what a cloud is asked stands in a class for each.

    Attributes:
        cloud: the pretended one.
        folder: of the project, as the person sees it.
        outside: the same folder, as this process sees it.
        note: told what was measured, in words and seconds.
    """

    def __init__(self, cloud: Pretended, name: str, **settings: Any) -> None:
        self.cloud, self.name = cloud, name
        self.folder = f"{cloud.home}/{name}-{time.monotonic_ns()}"
        self.outside = cloud.root / self.folder.lstrip("/")
        self.outside.mkdir(parents=True)
        for one in SENT:
            if (ROOT / one).is_dir():
                shutil.copytree(ROOT / one, self.outside / one, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (self.outside / one).parent.mkdir(exist_ok=True)
                shutil.copy(ROOT / one, self.outside / one)
        short = {"workers": 1, "hours": 0.5, "idle_minutes": 1.0, "setup_minutes": 1.0}
        self.note: Callable[[str, float], None] = lambda *_: None
        self.change(**{"cluster": name, **short, **settings})

    def change(self, **settings: Any) -> None:
        """Change settings of the section `cloud`."""
        yaml, path = YAML(), self.outside / "params.yaml"
        params = yaml.load(path)
        params.setdefault("cloud", {}).update(settings)
        yaml.dump(params, path)

    def start(self, *arguments: str, **popen: Any) -> "subprocess.Popen[str]":
        """Start `fifty`; what it says can be read from its stdout."""
        return self.cloud.popen(
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
        self.cloud.send(process, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=60)
        process.kill()
        process.communicate()

    def log(self) -> str:
        """The end of what `ray up` said last."""
        path = self.outside / f".fifty/cloud/{self.name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def nodes(self, role: str = "") -> Sequence[Any]:
        """Machines of this cluster that are not gone."""
        raise NotImplementedError

    def head_address(self) -> str:
        """Where the head can be reached."""
        raise NotImplementedError

    def told(self) -> str:
        """What there is to say of the machines when something is not as it should be."""
        return ""

    def shell(self, command: str, text: str = "", **popen: Any) -> "subprocess.Popen[str]":
        """Run a command on the head by SSH, as a person does, with `text` as its input."""
        address = self.head_address()
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        ssh = ["ssh", "-i", f".fifty/cloud/{self.name}.pem", *options, f"ubuntu@{address}", command]
        process = self.cloud.popen(
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

    def all_off(self, seconds: float = 120) -> float:
        """Wait until every machine has ended, with nobody's help."""
        taken = self.wait("all machines have ended", lambda: not self.nodes(), seconds)
        self.note("until all was off", taken)
        return taken

    def logs(self, machine: str) -> list[str]:
        """The ends of a machine's logs."""
        folder, lines = self.cloud.root / f"pretend/machines/{machine}", []
        for name in (
            "upper/tmp/ray/session_latest/logs/monitor.log",
            "boot.log",
            "upper/var/log/cloud-init-output.log",
            "upper/var/log/units.log",
        ):
            if (folder / name).exists():
                lines.append(f"{name}: " + (folder / name).read_text(errors="replace")[-1500:])
        return lines


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
