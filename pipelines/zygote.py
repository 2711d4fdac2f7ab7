"""A process that has torch and the models loaded, and forks for whoever asks: a search's planner and its workers.

To import them costs a core four to six seconds, more than many a search trains. So a search pays for it once, and while
it imports Ray; its workers, which Ray has started, have a fork do the training, and import neither torch nor Lightning.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Client, Connection
from pathlib import Path

from pipelines import startup

LOADED = ("lit_models", "lit_models.cohort.run", "pipelines.searching.cohort_work", "pipelines.searching.planning")
LOOK_SECONDS = 1.0
STARTING = "starting"


@contextmanager
def started(folder: Path, title: str = "") -> Iterator[str]:
    """Start the process and yield its address; it ends with the block, and with this process.

    Args:
        folder: for its socket; nobody else may enter it, for whoever reaches the socket may run what he likes.
        title: what is being done, for the sentence that it says if this process dies inside `starting`.
    """
    address = str(folder / "zygote")
    # A stage that was forked has torch loaded already.
    context = get_context("fork") if "torch" in sys.modules else get_context("spawn")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        process = context.Process(target=_serve, args=(listener, os.getpid(), folder / STARTING, title), daemon=True)
        process.start()
    try:
        yield address
    finally:
        process.kill()
        process.join()
        Path(address).unlink(missing_ok=True)


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """While the block works, a library starts that may end this process without a word we could hear.

    Ray does, when its raylet dies meanwhile.
    """
    (folder / STARTING).touch()
    try:
        yield
    finally:
        (folder / STARTING).unlink(missing_ok=True)


def fork(address: str, function: Callable[[Connection], None]) -> Connection:
    """Have a fork call `function` with the other end of a connection, at once or as soon as all is loaded.

    The fork ends when the function returns, and when this end is closed, or dies.

    Raises:
        OSError: the process that forks is dead.
    """
    connection = Client(address, "AF_UNIX")
    connection.send(function)
    return connection


def end(connection: Connection) -> None:
    """Have a fork end, whatever it is doing; it has when all that it sent is read, and `recv` raises EOFError."""
    _shut(connection, socket.SHUT_WR)


def abandon(connection: Connection) -> None:
    """Have a fork end, or never begin; whoever waits for what it sends gets EOFError at once."""
    _shut(connection, socket.SHUT_RDWR)


def _shut(connection: Connection, how: int) -> None:
    with suppress(OSError), closing(socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)) as own:
        own.shutdown(how)


def _serve(listener: socket.socket, parent: int, start: Path, title: str) -> None:
    """Fork for whoever connects, while the parent lives."""
    # Ctrl-C reaches the whole process group; the search's own process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Forked, it has inherited a handler that raises.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    startup.collect_seldom()
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()
    # No thread may run here: what it holds at the moment of a fork, the fork would wait for.
    while os.getppid() == parent:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if select.select([listener], [], [], LOOK_SECONDS)[0]:
            client, _ = listener.accept()
            if not os.fork():
                listener.close()
                _become(client)
            client.close()
    if start.exists():
        print(
            f"\n{title}: died while Ray was starting; nothing is lost. To go on: dvc repro", file=sys.stderr, flush=True
        )
    os._exit(0)  # taking torch apart takes a second, and not everything in it goes quietly


def _become(client: socket.socket) -> None:
    """In the fork: do what the other end asks for, and end."""
    try:
        threading.Thread(target=_end_with, args=(client.fileno(),), daemon=True).start()
        with Connection(client.detach()) as connection:
            connection.recv()(connection)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stderr.flush()
            sys.stdout.flush()
        _end()


def _end_with(file: int) -> None:
    """End this process when the other end of a connection is closed, whatever it is doing."""
    poll = select.poll()
    poll.register(file, select.POLLRDHUP | select.POLLHUP)
    poll.poll()
    _end()


def _end() -> None:
    """Nobody asks how a fork ended, and nothing that it holds needs an end: two threads may end it at once."""
    os.kill(os.getpid(), signal.SIGKILL)
