"""What a test has the pretended Google Cloud do, and asks it, at `/pretend/…`.

order     {"order": "cut", "machine": "ray-main-..."}      or uncut, reboot, freeze
preempt   {"machine": "ray-main-..."}                      a spot machine is taken away
vanish    {"machine": "ray-main-..."}                      a machine is deleted, as by a hand in the console
advance   {"seconds": 3600}                                the cloud's clock, not the machines'
machines  every machine that runs: its id, first process and address
left      all that would be nobody's after a `fifty down`
objects   what is in the buckets
problems  requests that the discovery documents do not know
"""

from datetime import timedelta
from typing import Any

from tests.infra.gcp.double import Double
from tests.pretend_aws.watcher import Watcher


class Orders:
    """Carries out one order after another.

    Args:
        double: the cloud.
        watcher: of its machines.
    """

    def __init__(self, double: Double, watcher: Watcher) -> None:
        self.double, self.watcher = double, watcher

    def __call__(self, what: str, said: Any) -> Any:
        """Do it; return what there is to tell."""
        return getattr(self, what)(**(said or {}))

    def order(self, order: str, machine: str) -> None:  # every order's name is its method's
        self.watcher.order(order, machine)

    def preempt(self, machine: str) -> None:
        self.double.compute.preempt(machine)

    def vanish(self, machine: str) -> None:
        compute = self.double.compute
        with compute.lock:
            compute.gone(next(key for key in compute.of("instances") if key[1] == machine))

    def advance(self, seconds: float) -> None:
        self.double.compute.advance(timedelta(seconds=seconds))

    def machines(self) -> list[dict[str, object]]:
        return self.watcher.running()

    def left(self) -> list[str]:
        return self.double.left()

    def objects(self) -> dict[str, str]:
        buckets = self.double.storage.buckets.values()
        return {name: content.decode() for bucket in buckets for name, content in bucket.items()}

    def problems(self) -> list[str]:
        return self.double.problems
