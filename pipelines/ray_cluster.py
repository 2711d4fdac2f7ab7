"""A cluster that is there already: connects to it, and carries data, code and checkpoints to and from its machines.

To be imported after `import_ray` was called. The cluster is others' too: it is left as it was found.
"""

import logging
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines import away, costs, interrupts, places, startup
from pipelines.faults import Fault
from pipelines.local_ray import cluster_address, scratch
from pipelines.machine import MachineConfig, gpu_share
from pipelines.ray_watch import leave
from pipelines.search_state import SearchState
from pipelines.searching.cohorts import Cohort
from pipelines.searching.plan_order import Order, Planned
from pipelines.searching.planner import Planner
from pipelines.searching.recorder import Recorder
from pipelines.stage import Stage

CODE = ("pipelines", "lit_models")
ANSWER_SECONDS = 10.0
LOOK_SECONDS = 2.0
# The cluster's own store may begin anew meanwhile, where it is built so that it can.
PATIENCE_SECONDS = 20.0
Resources = dict[str, float]


@dataclass(frozen=True)
class Away:
    """What a worker on any machine of the cluster is given."""

    parcel: away.Parcel
    keeper: Any

    def machine(self) -> str:
        """The machine that this process runs on, as Ray names it."""
        return str(ray.get_runtime_context().get_node_id())

    def data(self) -> Path:
        """The folder with the data, brought here by the first process that asks."""
        return away.unpack(self.parcel, away.machine_folder(), ray.get)

    @contextmanager
    def desk(self, cohort: str) -> Iterator[away.Desk]:
        """Yield where a cohort is trained on this machine."""
        base = away.machine_folder()
        # torch's own place for what it compiles is a folder that all users of a machine may write to.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(base / "compiled"))
        with away.desk(cohort, self.data(), base, _Line(self.keeper)) as desk:
            yield desk


@dataclass(frozen=True)
class _Line:
    """The keeper at the other end of a line."""

    keeper: Any

    def give(self, cohort: str) -> tuple[str, bytes] | None:
        found: tuple[str, bytes] | None = ray.get(self.keeper.give.remote(cohort))
        return found

    def keep(self, cohort: str, name: str, content: bytes) -> None:
        try:
            ray.get(self.keeper.keep.remote(cohort, name, content))
        except RayTaskError as error:  # what it met, as if it had been met here
            raise error.cause from None


class Cluster:
    """The cluster that this process is connected to.

    Attributes:
        folder: for what Tune must write on this machine.
    """

    def __init__(self, work: Stage, state: SearchState, folder: Path) -> None:
        self.folder = folder
        self._work = work
        self._threads = work.params.experiments[work.key].search.threads
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        keeper = ray.remote(away.Home).options(
            num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1
        )
        self.away = Away(away.pack(_data(work), ray.put), keeper.remote(str(state.cohorts.resolve())))

    @property
    def planner(self) -> Planner:
        """What plans on a machine that cohorts are trained on."""
        return _ClusterPlanner(self)

    def begin(self, cohorts: list[Cohort], recorder: Recorder) -> None:
        """Begin with none: its machines need no time to get ready, or are not there yet."""

    def close(self) -> None:
        """Nothing was begun that would have to end."""

    def plan(self, order: Order) -> Any:
        """Begin to plan on a machine that takes a cohort, with a GPU if such a machine has one."""
        gpu = any(machine.get("GPU", 0) >= 1 for machine in self._machines(gpus=0))
        task = ray.remote(_plan).options(num_cpus=self._threads, num_gpus=int(gpu), max_retries=-1)
        return task.remote(order, self._work.params.machine, self.away, gpu)

    def share(self, cohorts: list[Cohort], memory: int) -> float:
        """Say what fraction of a GPU each of these cohorts is given."""
        if not memory:
            return 0.0
        each = max(int(one["CPU"] // self._threads) // int(one["GPU"]) for one in self._machines(gpus=1))
        return gpu_share([cohort["memory"] for cohort in cohorts], memory, max(1, each))

    def _machines(self, gpus: int) -> list[Resources]:
        """The resources of each machine that takes a cohort; if there is none, wait for one."""
        if not (found := self._able(gpus)):
            what = f"{self._threads} processor{'s' if self._threads > 1 else ''}" + (" and a GPU" if gpus else "")
            self._work.say(f"no machine of the cluster has {what}; waiting for one")
            ray.get(ray.remote(_nothing).options(num_cpus=self._threads, num_gpus=gpus, max_retries=-1).remote())
            found = self._able(gpus)
        return found

    def _able(self, gpus: int) -> list[Resources]:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        return [one for one in machines if one.get("CPU", 0) >= self._threads and one.get("GPU", 0) >= gpus]

    def dollars_per_hour(self, machine: str, gpu: float) -> float:
        """What a cohort costs on a machine: its share of the price."""
        node = self._node(machine)
        return costs.price(node.get("Labels", {})) * costs.share(node.get("Resources", {}), self._threads, gpu)

    def is_gone(self, machine: str) -> bool:
        """Whether a machine has left the cluster."""
        return bool(machine) and not self._node(machine).get("Alive", False)

    def _node(self, machine: str) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return next((node for node in nodes if node["NodeID"] == machine), {})

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Leave when the cluster is gone, while the block works: Tune would wait for it for minutes, or for ever."""
        address, here = ray.get_runtime_context().gcs_address, self.away.machine()
        ending = threading.Event()

        def watch() -> None:
            silent = 0.0
            while not ending.wait(LOOK_SECONDS):
                silent = 0.0 if self._has(here, address) else silent + LOOK_SECONDS
                if silent >= PATIENCE_SECONDS:
                    leave(self._work.title, f"the cluster at {cluster_address()} is gone; nothing is lost", self.folder)

        # A daemon: it must not keep the process from ending.
        thread = threading.Thread(target=watch, name="cluster-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def _has(self, machine: str, address: str) -> bool:
        """Whether the cluster answers, and has a machine."""
        try:
            return _answers(address, LOOK_SECONDS) and not self.is_gone(machine)
        except Exception:  # whatever Ray raises: it died just now
            return False


class _ClusterPlanner(Planner):
    """Hands orders to a machine of the cluster, one at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._planned: Any = None

    def submit(self, order: Order) -> Planner:
        self._planned = self._cluster.plan(order)
        return self

    def result(self) -> Planned:
        try:
            planned: Planned = ray.get(self._planned)
        except RayError as error:
            raise Fault(f"the cohorts could not be planned: {_first_line(error)}") from None
        return planned

    def stop(self) -> None:
        with suppress(RayError):  # the cluster is gone, and whoever waits is told so
            if self._planned is not None:
                ray.cancel(self._planned)


def _plan(order: Order, machine: MachineConfig, given: Away, gpu: bool) -> Planned:
    """Plan on this machine, with what it has."""
    from pipelines.searching.planning import plan

    startup.collect_seldom()
    data = given.data()
    prepared, augmented = str(data / "prepared"), str(data / "augmented")
    planned = plan(replace(order, memory=machine.memory(), prepared=prepared, augmented=augmented))
    if gpu and not planned.gpu_memory:
        planned.notes.append("the cluster offers a GPU that torch cannot use; cohorts are planned for processors")
    return planned


def _nothing() -> None:
    """Do nothing, on a machine that must be there for it."""


def _data(work: Stage) -> dict[str, Path]:
    """What a search reads of its data set: all that is prepared but the test set, and the augmented training set."""
    dataset = work.params.experiments[work.key].dataset
    prepared = places.prepared(dataset)
    files = {f"prepared/{path.relative_to(prepared)}": path for path in prepared.rglob("*") if path.is_file()}
    files.pop("prepared/test.safetensors", None)
    return files | {"augmented/train.safetensors": places.augmented(dataset) / "train.safetensors"}


@contextmanager
def connected(work: Stage, state: SearchState, address: str) -> Iterator[Cluster]:
    """Connect to the cluster at `address`, and part from it at the end.

    Raises:
        Fault: there is none, or it does not let us in.
    """
    with scratch() as folder:
        for part in CODE:
            shutil.copytree(part, folder / "code" / part, ignore=shutil.ignore_patterns("__pycache__"))
        _connect(address, folder / "code")
        interrupts.install()
        try:
            yield Cluster(work, state, folder)
        finally:
            ray.shutdown()


def _connect(address: str, code: Path) -> None:
    if "://" in address:
        raise Fault(f"RAY_ADDRESS is {address}; a search takes the cluster's own, as 10.0.0.5:6379, or auto")
    if address != "auto" and not _answers(address, ANSWER_SECONDS):
        raise Fault(f"nothing answers at RAY_ADDRESS={address}; without RAY_ADDRESS a search runs on this machine")
    # Workers run this very code, and sum as this process was told to.
    variables = {name: os.environ[name] for name in ("MKL_CBWR",) if name in os.environ}
    try:
        ray.init(
            address=address,
            runtime_env={"working_dir": str(code), "env_vars": variables},
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (RayError, OSError, RuntimeError, ValueError) as error:
        why = _first_line(error).rstrip(".")
        raise Fault(f"{why} (RAY_ADDRESS={address}); is its token here, and RAY_AUTH_MODE=token?") from None


def _answers(address: str, patience: float) -> bool:
    """Whether anything listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=patience):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
