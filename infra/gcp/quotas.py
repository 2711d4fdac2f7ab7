"""Whether the account may have as many machines as the cluster may want. A new account may have no GPU at all."""

from collections.abc import Mapping

from infra.cluster import Machine, Run
from infra.faults import Refused
from infra.gcp.clients import Clients, Json
from infra.gcp.machines import accelerator_of
from infra.gcp.names import region

Free = Mapping[str, tuple[float, float]]


def check(clients: Clients, run: Run) -> None:
    """Compare what the cluster wants at most with what is free.

    Raises:
        Refused: it is not enough; says which quota, and how to ask for more.
    """
    place = region(run.region)
    request = clients.compute.regions().get(project=clients.project, region=place)
    here = free(clients.call(request, f"reading the quotas of {place}"))
    whole = free(clients.call(clients.compute.projects().get(project=clients.project), "reading the project's quotas"))
    for metric, wanted in wants(run).items():
        names = alternatives(metric, run)
        limits = [(*quota[name], name) for quota in (here, whole) for name in names if name in quota]
        if limits and max(limit - usage for limit, usage, _ in limits) < wanted:
            limit, usage, name = max(limits, key=lambda one: one[0] - one[1])
            raise Refused(_sentence(clients.project, place if name in here else "", name, limit, usage, wanted))


def free(answer: Json) -> Free:
    """Limit and usage of each quota."""
    return {quota["metric"]: (quota["limit"], quota.get("usage", 0.0)) for quota in answer.get("quotas", [])}


def wants(run: Run) -> dict[str, float]:
    """What the cluster takes of each quota at most; pure."""
    shape = run.shape
    machines = [
        (shape.head.machine, 1, shape.head_disk_gb),
        (shape.worker.machine, shape.workers, shape.worker_disk_gb),
    ]
    wanted: dict[str, float] = {}
    for machine, count, disk in machines:
        for metric, each in _of(machine, disk).items():
            wanted[metric] = wanted.get(metric, 0) + count * each
    return wanted


def _of(machine: Machine, disk: int) -> dict[str, float]:
    takes: dict[str, float] = {"IN_USE_ADDRESSES": 1, "SSD_TOTAL_GB": disk, "CPUS_ALL_REGIONS": machine.cores}
    family = machine.name.split("-")[0].upper()
    # Of old the families share one quota; each newer one has its own, and those with GPUs of their own none.
    if not machine.gpus or "+" in machine.name:
        takes["CPUS" if family in ("N1", "E2") else f"{family}_CPUS"] = machine.cores
    if machine.gpus:
        takes["GPUS_ALL_REGIONS"] = machine.gpus
        takes[metric_of(machine)] = machine.gpus
    return takes


def metric_of(machine: Machine) -> str:
    """The quota of a kind of GPU, as `NVIDIA_T4_GPUS`."""
    name = accelerator_of(machine).removeprefix("nvidia-").removeprefix("tesla-")
    return f"NVIDIA_{name.upper().replace('-', '_')}_GPUS"


def alternatives(metric: str, run: Run) -> tuple[str, ...]:
    """Quotas of which one is enough: GPUs that end within a week may be taken from the preemptible ones as well."""
    preemptible = metric.startswith("NVIDIA_") or (metric.endswith("CPUS") and run.shape.spot)
    return (metric, f"PREEMPTIBLE_{metric}") if preemptible else (metric,)


def _sentence(project: str, place: str, name: str, limit: float, usage: float, wanted: float) -> str:
    taken = f", of which {usage:g} are taken," if usage else ""
    new = ", after leaving the free trial (Billing, Activate full account), which has no GPUs" if "GPU" in name else ""
    return (
        f"the quota {name}{f' in {place}' if place else ''} is {limit:g}{taken} and the cluster may want {wanted:g}; "
        f"ask for more at https://console.cloud.google.com/iam-admin/quotas?project={project}{new}, or want fewer"
    )
