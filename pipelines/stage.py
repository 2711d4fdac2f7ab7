"""What every stage shares: its command line, validation before work, and what it says when it cannot finish."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

from pipelines import fork_server, interrupts, startup
from pipelines.faults import Fault

if TYPE_CHECKING:
    from pipelines.params import Params

# A full disk, a folder without permission, an earlier stage's out that is not there: no bug, so no traceback.
UNABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT),
}


@dataclass(frozen=True)
class Stage:
    """One stage at work on one key of params.yaml."""

    name: str
    key: str
    params: "Params"

    @property
    def title(self) -> str:
        """The stage as DVC names it."""
        return f"{self.name}@{self.key}" if self.key else self.name

    def say(self, text: str) -> None:
        """Print one line that begins with the stage's name, at once."""
        print(f"{self.title}: {text}", flush=True)


Over = Literal["datasets", "experiments", ""]


def main(name: str, description: str, body: Callable[[Stage], None], over: Over, *, forks: bool = False) -> NoReturn:
    """Run a stage for the key that the command line names, and leave with its exit code.

    With `forks`, a process that has imported torch already does it, where `dvc repro` has one.
    """
    code = fork_server.run(f"pipelines.{name}") if forks else None
    if code is None:
        code = run(name, description, body, over)
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking torch's modules apart, object by object, would take the interpreter another second and a half.
    os._exit(code)


def run(name: str, description: str, body: Callable[[Stage], None], over: Over) -> int:
    """Run `body` for the key that the command line names; return the exit code.

    0: done; 1: a fault that a person can mend; 2: params.yaml is not valid; 128 + n: stopped by signal n.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m pipelines.{name}",
        description=description,
        epilog="It reads params.yaml in this folder. `dvc repro` runs the stages in order and only where needed.",
    )
    if over:
        parser.add_argument("key", metavar=over[:-1].upper(), help=f"a key of `{over}:` in params.yaml")
    key = getattr(parser.parse_args(), "key", "")
    startup.collect_seldom()
    return _run(name, key, body, over)


def _run(name: str, key: str, body: Callable[[Stage], None], over: str) -> int:
    title = f"{name}@{key}" if key else name
    interrupts.install()
    try:
        return _work(title, name, key, body, over)
    except BaseException as error:
        # Libraries turn the interruption into errors of their own on its way up; what counts is that it came.
        interrupts.arrived(error)
        if not interrupts.received:
            raise
    number = interrupts.received[0]
    return _report(title, f"stopped by {signal.Signals(number).name}", 128 + number)


def _work(title: str, name: str, key: str, body: Callable[[Stage], None], over: str) -> int:
    from pipelines.params import ParamsFaults, load

    try:
        params = load()
        known = list(getattr(params, over)) if over else []
        if over and key not in known:
            raise Fault(f"params.yaml has no {over[:-1]} '{key}'; it has: {', '.join(known)}")
        body(Stage(name, key, params))
    except ParamsFaults as error:
        print(f"{title}: params.yaml is not valid, nothing was run\n{error}", file=sys.stderr)
        return 2
    except Fault as error:
        if interrupts.received:
            raise
        return _report(title, str(error), 1)
    except OSError as error:
        if interrupts.received or error.errno not in UNABLE:
            raise
        where = f": {error.filename}" if error.filename else ""
        return _report(title, f"{error.strerror}{where}", 1)
    return 0


def _report(title: str, text: str, code: int) -> int:
    print(f"\n{title}: {text}\nIts outs are as they were. To go on: dvc repro", file=sys.stderr, flush=True)
    return code
