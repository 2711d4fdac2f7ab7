"""How many virtual processors the account may run. A new account may run no GPU at all, and nobody tells it so."""

import re
from dataclasses import dataclass

from infra.aws.clients import Clients
from infra.aws.errors import asking, code_of
from infra.cluster import Run
from infra.faults import CloudFault, Refused


@dataclass(frozen=True)
class Quota:
    """A limit on the virtual processors of a class of machines, with the code by which AWS knows it."""

    code: str
    name: str


# By the letters a type's name begins with: the quota on demand, and the one for spot.
CLASSES: tuple[tuple[str, Quota, Quota], ...] = (
    (
        r"(g|vt)\d|gr\d",
        Quota("L-DB2E81BA", "Running On-Demand G and VT instances"),
        Quota("L-3819A6DF", "All G and VT Spot Instance Requests"),
    ),
    (
        r"p[2-4]",
        Quota("L-417A185B", "Running On-Demand P instances"),
        Quota("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"),
    ),
    (
        r"p\d",
        Quota("L-417A185B", "Running On-Demand P instances"),
        Quota("L-C4BD4855", "All P5 Spot Instance Requests"),
    ),
    (
        r"[acdhimrtz]\d?",
        Quota("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
        Quota("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
    ),
)
# Where the account may not, or cannot, ask for its quotas, it is no reason to refuse: AWS itself will say no.
UNKNOWN = {"NoSuchResourceException", "AccessDeniedException", "UnauthorizedOperation", "AccessDenied"}


def quota_of(machine: str, *, spot: bool) -> Quota | None:
    """The quota that a type of instance counts against; None for classes that we know nothing of."""
    for pattern, on_demand, spots in CLASSES:
        if re.match(pattern, machine):
            return spots if spot else on_demand
    return None


def check_quotas(clients: Clients, run: Run, *, fallback: bool) -> None:
    """See that the account may run the head and every worker at once.

    Raises:
        Refused: it may not; says which quota it is and how to ask for more.
    """
    shape = run.shape
    head = quota_of(shape.head.machine.name, spot=False)
    reserve = quota_of(shape.worker.machine.name, spot=False)
    _enough(clients, head, shape.head.machine.cores, "the head needs", "")
    cores = shape.worker.machine.cores

    def workers(quota: Quota | None) -> None:
        others = shape.head.machine.cores if quota == head else 0
        limit = _limit(clients, quota)
        fits = shape.workers if limit is None else int(max(limit - others, 0) // max(cores, 1))
        hint = f"set cloud.workers to {fits}, or " if 0 < fits < shape.workers else ""
        _enough(
            clients, quota, shape.workers * cores + others, f"{shape.workers} x {shape.worker.machine.name} need", hint
        )

    if not shape.spot:
        workers(reserve)
        return
    try:
        workers(quota_of(shape.worker.machine.name, spot=True))
    except Refused as refused:
        if not fallback:
            raise
        try:
            workers(reserve)
        except Refused:
            raise refused from None


def _enough(clients: Clients, quota: Quota | None, needed: int, who: str, hint: str) -> None:
    limit = _limit(clients, quota)
    if quota is None or limit is None or needed <= limit:
        return
    new = ", as every new account" if limit == 0 else ""
    region = clients.region
    raise Refused(
        f"{who} {needed} virtual processors, and this account may run {limit:g} of `{quota.name}` in {region}{new}: "
        f"{hint}ask for more, which is free and takes minutes to days, at https://{region}.console.aws.amazon.com/"
        f"servicequotas/home/services/ec2/quotas/{quota.code} or by `aws service-quotas request-service-quota-increase "
        f"--service-code ec2 --quota-code {quota.code} --desired-value {needed} --region {region}`"
    )


def _limit(clients: Clients, quota: Quota | None) -> float | None:
    """What the account may run; None if it cannot be learnt."""
    if quota is None:
        return None
    try:
        with asking(f"asking for the quota `{quota.name}`"):
            answer = clients.quotas().get_service_quota(ServiceCode="ec2", QuotaCode=quota.code)
    except CloudFault as fault:
        if code_of(fault) in UNKNOWN:
            return None
        raise
    value = answer["Quota"].get("Value")
    return None if value is None else float(value)
