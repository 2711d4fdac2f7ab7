"""What happens in a real cloud by itself: machines start and end with their state, and power-off has its effect. Who
keeps the books has no machines.
"""

import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Protocol

from tests.pretend_aws.machine import Facts, Machine

PERIOD = 0.3


class Books(Protocol):
    """What a cloud says of its machines."""

    def read(self) -> dict[str, bool]:
        """Return which machines there are, and whether each is to run; first what is due happens."""

    def facts(self, name: str) -> Facts:
        """Gather what a machine that was read of gets to know at its boot."""

    def powered_off(self, name: str) -> None:
        """Apply what is to happen when a machine shuts itself down."""


class Watcher(threading.Thread):
    """Looks at the books three times a second.

    Args:
        books: of the cloud.
        cloud: see `machine.variables`.
        bridge: see `Machine`.
        gateway: see `Machine`.
        files: see `Machine`.
    """

    def __init__(
        self,
        books: Books,
        cloud: Mapping[str, str],
        bridge: str,
        gateway: str,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.books, self.cloud, self.bridge, self.gateway, self.files = books, cloud, bridge, gateway, files or {}
        self.machines: dict[str, Machine] = {}
        self.lock = threading.RLock()
        self.ended = threading.Event()

    def run(self) -> None:
        """Look until told to stop; a fault of one look is printed, and the next look tries again."""
        while not self.ended.wait(PERIOD):
            try:
                with self.lock:
                    self.look()
            except Exception:
                traceback.print_exc(file=sys.stderr)

    def stop(self) -> None:
        """Switch all machines off."""
        self.ended.set()
        self.join()
        for machine in self.machines.values():
            machine.stop()

    def look(self) -> None:
        """Compare what the cloud says with what runs."""
        there = self.books.read()
        for name, runs in there.items():
            self.follow(name, runs)
        for name in self.machines.keys() - there.keys():
            self.machines.pop(name).stop()  # it was deleted, or the books have been thrown away

    def follow(self, name: str, runs: bool) -> None:
        """Start a machine that is to run, stop one that is not, and tell the cloud of one that has gone off."""
        machine = self.machines.get(name)
        if not runs:
            if machine and machine.wanted:
                machine.stop()
        elif machine is None:
            self.machines[name] = machine = self.make(name)
            machine.start()
        elif not machine.wanted:
            machine.start()
        elif not machine.on:
            machine.stop()
            self.books.powered_off(name)

    def make(self, name: str) -> Machine:
        """A machine as it is delivered."""
        return Machine(self.books.facts(name), self.cloud, self.bridge, self.gateway, self.files)

    def running(self) -> list[dict[str, object]]:
        """Tell of the machines that are on."""
        with self.lock:
            return [machine.told() for machine in self.machines.values() if machine.on]

    def order(self, order: str, name: str) -> None:
        """Do to a machine what can happen to one: its cable is pulled, it is restarted, it hangs."""
        with self.lock:
            machine = self.machines[name]
            if order in ("cut", "uncut"):
                machine.cut(apart=order == "cut")
            elif order == "freeze":
                machine.freeze()
            elif order == "reboot":
                machine.stop()
                machine.start()
            else:
                raise ValueError(f"no such order: {order}")
