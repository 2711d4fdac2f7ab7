"""Pretended Ray: a head with the autoscaler's monitor and a driver, and workers that do the work."""

from contextlib import suppress
from datetime import timedelta

from infra.faults import CloudFault, NoCapacity
from infra.node import rules
from infra.simulator.cloud import Cloud, Rented
from infra.simulator.nodes import IDLE_MINUTES, Computer, Layers

MONITOR = 15.0  # seconds from one look of the autoscaler to the next
VANISHED = 98.0  # seconds until the head takes a worker for dead that has closed no socket, keepalive being set


class Worker(Computer):
    """A worker; `cut` when the network has lost it."""

    role = "worker"

    def __init__(self, head: "Head", rented: Rented, setup: str) -> None:
        super().__init__(head.cloud, rented, setup, head.layers)
        self.head, self.cut, self.idle_at, self.ray = head, False, self.world.seconds, True
        self.lost_at: float | None = None

    def lose_ray(self) -> None:
        """The raylet does not come back by itself."""
        self.ray = False

    @property
    def works(self) -> bool:
        """Whether the head can send it tasks."""
        return self.ready and self.ray and not self.cut and self.head.ready

    def view(self) -> rules.View:
        """A worker sees its head, or does not."""
        seen = self.up and self.ray and not self.cut and self.head.ready
        if not self.layers.headless:
            seen = True
        return self.seen(head_seen_at=self.now() if seen else None)

    def without_head(self) -> timedelta:
        """How long it may outlive its head at most."""
        patience = rules.HEADLESS if self.memory is not None and self.memory.head_seen_at else rules.SETUP
        return patience + 2 * rules.PERIOD + rules.BOOT + rules.SHUTDOWN


class Head(Computer):
    """A head: Ray's autoscaler and the driver of a job that needs `work` seconds of workers."""

    def __init__(self, cloud: Cloud, rented: Rented, setup: str, layers: Layers) -> None:
        super().__init__(cloud, rented, setup, layers)
        self.monitor_alive = self.driver_alive = self.may_replace = True
        self.failed_setups = 0
        self.workers: list[Worker] = []  # that it knows of
        self.launched: list[Worker] = []  # that it ever had
        self.begin(0.0, "work", spot=False)

    def begin(self, work: float, setups: str, *, spot: bool) -> None:
        """Give it a job of so many seconds of a worker, and say how set-ups of workers will go."""
        self.work, self.setups, self.spot, self.looked = work, setups, spot, self.world.seconds

    def lose_ray(self) -> None:
        """Neither the monitor nor the driver comes back by itself."""
        self.monitor_alive = self.driver_alive = False

    def is_set_up(self) -> None:
        """The monitor begins, and a driver connects."""
        super().is_set_up()
        if self.ready:
            self.looked = self.world.seconds
            self.world.after(MONITOR, self.monitor)

    def monitor(self) -> None:
        """One look of the autoscaler: see who works, terminate the dead, the failed and the idle, launch what lacks."""
        if not self.ready or not self.monitor_alive:
            return
        try:
            self._proceed()
            self._tidy()
            self._scale()
        except CloudFault:
            pass
        self.world.after(MONITOR, self.monitor)

    def _proceed(self) -> None:
        now, busy = self.world.seconds, [worker for worker in self.workers if worker.works]
        if self.driver_alive and self.work > 0:
            self.work -= len(busy) * (now - self.looked)
            for worker in busy:
                worker.idle_at = now
            self.driver_alive = self.work > 0
        self.looked = now

    def _tidy(self) -> None:
        now, idle = self.world.seconds, IDLE_MINUTES * 60
        for worker in list(self.workers):
            if worker.ready_at is not None and worker.works:
                self.failed_setups, worker.lost_at = 0, None
            elif worker.lost_at is None and (worker.ready_at is not None or worker.rented.ended is not None):
                worker.lost_at = now
            failed = worker.setup == "fail" and worker.booted and now - worker.rented.launched > 85
            lost = worker.lost_at is not None and now - worker.lost_at > VANISHED
            if failed or lost or (worker.works and now - worker.idle_at > idle):
                self.cloud.terminate([worker.rented.id])
                self.workers.remove(worker)
                self.failed_setups += failed

    def _scale(self) -> None:
        run = self.rented.run
        wanted = run.shape.workers if self.driver_alive and self.work > 0 else 0
        while self.may_replace and len(self.cloud.alive(run.id, "worker")) < wanted:
            try:
                rented = self.cloud.launch(run, "worker", spot=self.spot)
            except NoCapacity:
                if not self.spot:
                    return
                rented = self.cloud.launch(run, "worker", spot=False)
            self.workers.append(Worker(self, rented, self.setups))
            self.launched.append(self.workers[-1])

    def view(self) -> rules.View:
        """A head sees its monitor, its driver, and whether anything runs or waits."""
        wants = self.driver_alive and self.work > 0
        return self.seen(
            monitor_alive=self.monitor_alive,
            driver_alive=self.driver_alive,
            busy=wants and any(worker.works for worker in self.workers),
            waiting=wants,
            workers=len(self.cloud.alive(self.rented.run.id, "worker")),
            failed_setups=self.failed_setups,
        )

    def act(self, action: rules.Action) -> None:
        """Take the workers down first, if the cloud listens, and then itself, whether or not."""
        self.may_replace = action.kind != rules.STOP_REPLACING
        if action.kind == rules.END_ALL:
            with suppress(CloudFault):
                self.cloud.terminate([machine.id for machine in self.cloud.alive(self.rented.run.id, "worker")])
            self.power_off()
        else:
            super().act(action)
