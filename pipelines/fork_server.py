"""Stages of one `dvc repro` share their imports: a process that has torch loaded forks for each of them.

Torch, Lightning and MLflow take eight seconds to import, more than most default experiments train. So the first stage
that needs them starts this server, which imports them once and forks a process for every later stage. It lives as long
as the `dvc` command that it serves, imports libraries alone and none of our code, and listens on a socket in a folder
that nobody else may enter. Without DVC, and wherever anything about it fails, a stage imports for itself.
"""

import array
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from pipelines import startup

# Loaded before the first fork, and while nobody asks.
FIRST = ("torch", "pytorch_lightning")
IDLE = ("mlflow", "matplotlib.pyplot", "pandas", "sklearn.metrics", "pyarrow.parquet")
FORKED = "FIFTY_FORKED"
FOLDER = Path(".fifty/fork-server")
# What differs from stage to stage; anything else might change how a library behaves that is loaded already.
OWN = ("DVC_STAGE", "DVC_STAGE_HASH", "_", "SHLVL")


def run(module: str) -> int | None:
    """Have `python -m module`, with this process's arguments, done by a fork; return its exit code.

    None if there is no server to be had: the caller shall do the work itself. The fork is in this process's group and
    has its files, so that Ctrl-C reaches it and what it prints appears; it ends when this process is killed.
    """
    owner = None if FORKED in os.environ else _owner()
    if owner is None:
        return None
    life, ours = os.pipe()  # the fork reads it, and so learns that we are gone
    try:
        with _connect(owner) as connection:
            order = {"module": module, "argv": sys.argv, "env": dict(os.environ), "group": os.getpgid(0)}
            _send(connection, {**order, "cwd": str(Path.cwd())}, [0, 1, 2, life])
            answer = connection.makefile("r")
            pid = int(answer.readline() or 0)
            return _wait(pid, answer) if pid else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(life)
        os.close(ours)


def _wait(pid: int, answer: IO[str]) -> int:
    """Wait for a fork to end; return its exit code, 1 if the server has died and cannot tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it has got it too, and decides what it means
    signal.signal(signal.SIGTERM, lambda *_: _kill(pid))
    try:
        return int(answer.readline() or 1)
    except (OSError, ValueError):
        return 1


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _owner() -> int | None:
    """The process of the `dvc` command that runs this stage; None if a person runs it."""
    if "DVC_STAGE" not in os.environ or not Path("/proc/self/environ").exists():
        return None
    pid = os.getppid()
    while pid > 1:
        try:
            inherited = Path(f"/proc/{pid}/environ").read_bytes()
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return None
        if b"\0DVC_STAGE=" not in b"\0" + inherited:
            return pid
        pid = parent
    return None


def _connect(owner: int) -> socket.socket:
    """Connect to the server, which is started if there is none."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    if FOLDER.stat().st_uid != os.getuid() or FOLDER.stat().st_mode & 0o077:
        raise OSError("somebody else may enter the server's folder")
    path = FOLDER / str(owner)  # relative: a socket's path may have 107 characters at most
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        _start(owner, path)
        connection.connect(str(path))
    return connection


def _start(owner: int, path: Path) -> None:
    for old in FOLDER.iterdir():
        if not Path("/proc", old.name).exists() or old == path:
            old.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        # As lit_models does: it counts when torch is loaded.
        env = {"MKL_CBWR": "AUTO", **os.environ}
        command = [sys.executable, "-m", "pipelines.fork_server", str(owner), str(listener.fileno())]
        # No pipe of DVC's may stay open for it: whoever reads them would wait.
        quiet = subprocess.DEVNULL
        subprocess.Popen(command, env=env, pass_fds=[listener.fileno()], stdin=quiet, stdout=quiet, stderr=quiet)


def _send(connection: socket.socket, order: dict[str, Any], files: list[int]) -> None:
    text = json.dumps(order).encode() + b"\n"
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    sent = connection.sendmsg([text], ancillary)
    connection.sendall(text[sent:])


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    text, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4 * 4))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data)
    while not text.endswith(b"\n"):
        more = connection.recv(65536)
        if not more:
            raise ValueError("cut off")
        text += more
    return json.loads(text), list(files)


class _Server:
    """Forks for whoever asks, until `owner` is gone."""

    def __init__(self, owner: int, listener: socket.socket) -> None:
        self._listener = listener
        self._owner = os.pidfd_open(owner)
        self._waiting = list(IDLE)
        self._forks: dict[int, tuple[int, socket.socket]] = {}

    def serve(self) -> None:
        """Answer until the owner is gone."""
        for name in FIRST:
            importlib.import_module(name)
        gc.freeze()
        while True:
            files: list[Any] = [self._owner, self._listener, *self._forks]
            ready, _, _ = select.select(files, [], [], 0 if self._waiting else None)
            if self._owner in ready:
                return
            for file in ready:
                if file is self._listener:
                    self._fork(self._listener.accept()[0])
                else:
                    self._report(file)
            if not ready and self._waiting:
                with suppress(ImportError):
                    importlib.import_module(self._waiting.pop(0))
                gc.freeze()

    def _fork(self, connection: socket.socket) -> None:
        with connection:
            try:
                order, files = _receive(connection)
            except ValueError:
                return
            if _rest(order["env"]) == _rest(dict(os.environ)) and (pid := os.fork()):
                self._forks[os.pidfd_open(pid)] = pid, connection.dup()
                connection.sendall(f"{pid}\n".encode())
            elif _rest(order["env"]) == _rest(dict(os.environ)):
                self._become(order, files)
            for file in files:
                os.close(file)

    def _report(self, file: int) -> None:
        """Tell whoever asked for a fork how it ended."""
        pid, connection = self._forks.pop(file)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(file)
        with connection, suppress(OSError):
            connection.sendall(f"{128 - code if code < 0 else code}\n".encode())

    def _become(self, order: dict[str, Any], files: list[int]) -> NoReturn:
        """In the fork: be as if `python -m module` had been called."""
        code = 1
        try:
            for file in (self._owner, *self._forks, self._listener.fileno()):
                os.close(file)
            *standard, life = files
            for number, file in enumerate(standard):
                os.dup2(file, number)
                os.close(file)
            with suppress(OSError):
                os.setpgid(0, order["group"])
            threading.Thread(target=_watch, args=(life,), daemon=True).start()
            code = _run(order)
        finally:
            os._exit(code)


def _rest(env: dict[str, str]) -> dict[str, str]:
    return {"MKL_CBWR": "AUTO"} | {name: value for name, value in env.items() if name not in OWN}


def _watch(life: int) -> None:
    os.read(life, 1)
    os._exit(128 + signal.SIGKILL)


def _run(order: dict[str, Any]) -> int:
    import random

    import numpy as np

    # Every fork would draw the same numbers: MLflow, say, the same names.
    random.seed()
    np.random.seed()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(order["env"] | {FORKED: "1"})
    os.chdir(order["cwd"])
    sys.argv[:] = order["argv"]
    sys.path[0] = order["cwd"]
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    for name in [name for name in sys.modules if name.partition(".")[0] == "pipelines"]:
        del sys.modules[name]
    try:
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0


if __name__ == "__main__":
    # Whoever stops the whole group stops `dvc` too, and this ends with it; the forks shall be told how they end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    startup.collect_seldom()
    with socket.socket(fileno=int(sys.argv[2])) as served:
        _Server(int(sys.argv[1]), served).serve()
        Path(served.getsockname()).unlink(missing_ok=True)
        os._exit(0)  # taking torch apart takes a second
