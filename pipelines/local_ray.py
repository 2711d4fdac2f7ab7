"""Ray on this machine, for as long as one search takes: quiet, guarded by a token, gone without a trace."""

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines import interrupts

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Under `uv run` Ray would pack the environment anew for every worker.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Tune's own handler turns Ctrl-C into a normal return with half of the trials.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The journal is the record; Tune's CSV, JSON and TensorBoard files would be thrown away.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Neither Tune's own tables nor Ray's advice about GPUs belongs between our lines.
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def import_ray() -> None:
    """Import Ray with the settings and the token that it reads from the environment while it is imported."""
    os.environ.update(SETTINGS)
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Workers import this checkout's code, not another's that may be installed.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")]))
    import ray.tune  # noqa: F401


@contextmanager
def local_ray(cpus: int) -> Iterator[Path]:
    """Start Ray and yield a folder for what Tune must write; both are gone afterwards, whatever happened.

    Ray's processes listen on every address of the machine and offer no other way; the token, made for this one
    search and handed down by environment, turns everybody else away. Call `import_ray` first.
    """
    import ray

    # Sockets lie in here, and a socket's path may have 107 characters at most.
    base = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())  # noqa: S108
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=f"fifty-{os.getpid()}-", dir=base))
    try:
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
        yield folder
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(base: Path) -> None:
    """Delete what searches left behind that were killed outright."""
    for folder in base.glob("fifty-[0-9]*-*"):
        owner = folder.name.split("-")[1]
        if not Path("/proc", owner).exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
