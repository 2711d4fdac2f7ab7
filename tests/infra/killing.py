"""Ends a command at a chosen moment: before or after any one of its calls to the world, by an exception or for real.

    python -m tests.infra.killing up append 1 after

runs `fifty up fake` in the working folder and has it killed, as `kill -9` does, after its first `append` to the ledger.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from infra import record
from infra.context import Context
from infra.provider import Step

When = Literal["before", "after"]


class Killed(BaseException):
    """What no `except Exception` sees."""


@dataclass
class Reaper:
    """Counts every call to the world, and at one of them ends the command.

    Attributes:
        at: the moment by its number; None: by name.
        name: of the call, its count from 1, and whether before or after it.
        kill: does it; once dead, nothing more can be done.
    """

    at: int | None = None
    named: tuple[str, int, When] | None = None
    kill: Callable[[], None] = lambda: None
    moments: list[tuple[str, int, When]] = field(default_factory=list)
    dead: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def call(self, name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self.counts[name] += 1
        count = self.counts[name]
        self._moment(name, count, "before")
        result = function(*arguments, **named)
        self._moment(name, count, "after")
        return result

    def _moment(self, name: str, count: int, when: When) -> None:
        moment = (name, count, when)
        if self.dead or len(self.moments) == self.at or moment == self.named:
            self.dead = True
            self.kill()
            raise Killed(moment)
        self.moments.append(moment)


@dataclass
class Watched:
    """Anything of the world whose calls the reaper counts."""

    inner: Any
    reaper: Reaper

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            if name == "cluster_config":
                return value(*arguments, **named)
            result = self.reaper.call(name, value, *arguments, **named)
            if name == "steps":
                return [Step(s.name, lambda s=s: self.reaper.call(s.name, s.ensure)) for s in result]
            return Watched(result, self.reaper) if name == "store" else result

        return call

    def __call__(self, *arguments: Any) -> Any:
        return self.reaper.call("launch", self.inner, *arguments)


def watched(context: Context, reaper: Reaper, patch: Callable[[Any, str, Any], None]) -> Context:
    """The same context, all of whose calls to the world, and to the disk, the reaper counts."""
    for name in ("write", "delete"):
        function = getattr(record, name)
        patch(record, name, lambda *a, f=function, n=name: reaper.call(n, f, *a))
    return replace(context, provider=Watched(context.provider, reaper), launch=Watched(context.launch, reaper))


def main(arguments: list[str]) -> int:
    """Run a command of `fifty` on the fake cloud of this folder, and be killed."""
    from infra import cli, where

    command, name, count, when = arguments
    reaper = Reaper(None, (name, int(count), when), lambda: os.kill(os.getpid(), signal.SIGKILL))  # type: ignore[arg-type]
    build = where.context_for

    def context_for(*args: Any, **kwargs: Any) -> Context:
        return watched(build(*args, **kwargs), reaper, setattr)

    where.context_for = context_for
    sys.argv = ["fifty", command, "fake"]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
