"""Ray on this machine, for as long as one search takes: quiet, guarded by a token, gone without a trace.

Where the environment names a cluster, that is used instead: see ray_cluster.py.
"""

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pipelines import interrupts, zygote
from pipelines.faults import Fault
from pipelines.ray_processes import is_dead, kill_all, kill_autoscaler, living_servers

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would pack the environment anew for every worker.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Its workers only pass on what forks report; niced, as Ray has them, they would start when training leaves a core
    # idle, and Tune puts the first that is there in the place of the second.
    "RAY_worker_niceness": "0",
    # Workers for whatever a driver may ask for first, and gone when it was something else.
    "RAY_prestart_worker_first_driver": "0",
    # Tune's own handler turns Ctrl-C into a normal return with half of the trials.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The journal is the record; Tune's CSV, JSON and TensorBoard files would be thrown away.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Neither Tune's own tables nor Ray's advice about GPUs belongs between our lines.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
ON_A_CLUSTER = {
    # Cohorts that wait for a machine are what an autoscaler adds machines for; by default one would wait at a time.
    "TUNE_MAX_PENDING_TRIALS_PG": "256",
    # The search itself says when it waits.
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "inf",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "inf",
    # Of twenty tries to connect, one a second, each that fails prints a line.
    "RAY_NUM_REDIS_GET_RETRIES": "2",
    # Ray tells at length of machines that vanish; the search does in a line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # Submitted as a job of Ray's, the search still says itself which code its workers run.
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
}


def cluster_address() -> str:
    """The address of the cluster that the environment names; empty if a search is to run on this machine."""
    address = os.environ.get("RAY_ADDRESS", "").strip()
    return "" if address == "local" else address


def import_ray() -> None:
    """Import Ray with the settings and the token that it reads from the environment while it is imported.

    A cluster has a token already: it is in the environment, or in the file that the environment names, or in
    ~/.ray/auth_token.
    """
    os.environ.update(SETTINGS)
    if cluster_address():
        os.environ.update(ON_A_CLUSTER)
        if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ) or (Path.home() / ".ray/auth_token").exists():
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    else:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Workers import this checkout's code, not another's that may be installed.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    import ray.tune  # noqa: F401


@contextmanager
def local_ray(cpus: int, folder: Path) -> Iterator[None]:
    """Start Ray, which is gone afterwards, whatever happened.

    Ray's processes listen on every address of the machine and offer no other way; the token, made for this one
    search and handed down by environment, turns everybody else away. Call `import_ray` first.

    Args:
        cpus: how many Ray may give away.
        folder: for its files and sockets; see `scratch`.

    Raises:
        Fault: Ray does not start.
    """
    import ray

    servers: dict[str, psutil.Process] = {}
    try:
        with zygote.starting(folder), _as_a_fault():
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                # A failed trial's reason is in the recorder's book, and the search says it in one line.
                logging_level=logging.CRITICAL,
                _temp_dir=str(folder / "ray"),
            )
        interrupts.install()
        kill_autoscaler()
        servers = living_servers(psutil.Process().children(recursive=True))
        yield
    finally:
        if interrupts.received or any(is_dead(server) for server in servers.values()):
            # A signal to the whole group ends them too; Ray would wait ten seconds for their answer.
            kill_all(os.environ["RAY_AUTH_TOKEN"])
        else:
            ray.shutdown()


@contextmanager
def _as_a_fault() -> Iterator[None]:
    """Whatever Ray raises while it starts: one of its servers died, or took too long."""
    try:
        yield
    except Exception as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise Fault(f"Ray did not start; nothing is lost ({why})") from error


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder that is gone afterwards, and see that those of processes that were killed are gone too."""
    # Sockets lie in here, and a socket's path may have 107 characters at most.
    base = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=f"fifty-{os.getpid()}-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(base: Path) -> None:
    """Delete what searches left behind that were killed outright."""
    for folder in base.glob("fifty-[0-9]*-*"):
        owner = folder.name.split("-")[1]
        if not Path("/proc", owner).exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
