"""What is the same for all that Compute Engine keeps: how it is listed, made and removed, which takes a while."""

import re
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import count

from tests.infra.gcp.catalog import QUOTAS, ZONES
from tests.infra.gcp.filter import Json, matches

ROOT = "https://www.googleapis.com/compute/v1"
# What cannot go while another thing, of this kind and with this field, refers to it.
HELD = {
    "networks": [("subnetworks", "network"), ("firewalls", "network")],
    "subnetworks": [("instances", "networkInterfaces")],
}


class ApiError(Exception):
    """An answer that is an error, as Google words it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class Things:
    """The state of one project; every public method is one of the interface's, but for those at the end."""

    def __init__(self, project: str, delay: float) -> None:
        self.project, self.delay = project, delay
        self.skew = timedelta(0)
        self.page = 500
        self.things: dict[str, dict[tuple[str, str], Json]] = {}
        self.operations: dict[str, Json] = {}
        self.pending: list[tuple[float, Json, Callable[[], None]]] = []
        self.operation_faults: dict[str, list[tuple[str, str]]] = {}
        self.quotas = dict(QUOTAS)
        self.ids = count(1000)
        self.lock = threading.RLock()

    def now(self) -> datetime:
        """The time in this world, which may be ahead of ours."""
        return datetime.now(UTC) + self.skew

    def tick(self) -> None:
        """Finish the operations that are due."""
        due = [entry for entry in self.pending if entry[0] <= time.monotonic()]
        self.pending = [entry for entry in self.pending if entry not in due]
        for _, operation, effect in due:
            effect()
            operation.update(status="DONE", progress=100, endTime=stamp(self.now()))

    def of(self, kind: str) -> dict[tuple[str, str], Json]:
        """Everything of a kind, by scope and name."""
        return self.things.setdefault(kind, {})

    def call(self, kind: str, verb: str, params: dict[str, str], body: Json | None) -> Json:
        """Answer one call of the interface."""
        if params.get("project") not in (self.project, "ubuntu-os-cloud", "ubuntu-os-accelerator-images"):
            raise ApiError(404, "notFound", f"The resource 'projects/{params.get('project')}' was not found")
        action: Callable[..., Json] | None = getattr(self, f"{kind}_{verb}", None) or getattr(self, f"any_{verb}", None)
        if action is None:
            raise ApiError(501, "notImplemented", f"the double lacks compute.{kind}.{verb}")
        return action(kind, params, body)

    def any_get(self, kind: str, params: dict[str, str], _body: None) -> Json:
        return deepcopy(self.one(kind, params))

    def any_list(self, kind: str, params: dict[str, str], _body: None) -> Json:
        items = [item for (scope, _), item in self.of(kind).items() if scope == scope_of(params)]
        return self.paged(kind, [item for item in items if matches(params.get("filter", ""), item)], params)

    def any_aggregatedList(self, kind: str, params: dict[str, str], _body: None) -> Json:  # noqa: N802
        found = [(scope, item) for (scope, _), item in self.of(kind).items() if matches(params.get("filter", ""), item)]
        first = int(params.get("pageToken", "0"))
        scopes: Json = {f"zones/{zone}": {"warning": {"code": "NO_RESULTS_ON_PAGE"}} for zone in ZONES}
        for scope, item in found[first : first + self.page]:
            place = "global" if scope == "global" else f"{'zones' if scope in ZONES else 'regions'}/{scope}"
            scopes.setdefault(place, {}).pop("warning", None)
            scopes[place].setdefault(kind, []).append(deepcopy(item))
        more = {"nextPageToken": str(first + self.page)} if len(found) > first + self.page else {}
        return {"items": scopes, **more}

    def paged(self, kind: str, items: list[Json], params: dict[str, str]) -> Json:
        first = int(params.get("pageToken", "0"))
        page: Json = {"kind": f"compute#{kind}List", "items": deepcopy(items[first : first + self.page])}
        if len(items) > first + self.page:
            page["nextPageToken"] = str(first + self.page)
        return page if page["items"] else {"kind": page["kind"]}

    def any_insert(self, kind: str, params: dict[str, str], body: Json) -> Json:
        self.keep(kind, params, body)
        return self.operation("insert", kind, (scope_of(params), body["name"]), lambda: None)

    def keep(self, kind: str, params: dict[str, str], body: Json) -> None:
        key = (scope_of(params), body["name"])
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", body["name"]):
            raise ApiError(400, "invalid", f"Invalid value for field 'resource.name': '{body['name']}'")
        if key in self.of(kind):
            raise ApiError(409, "alreadyExists", f"The resource '{self.link(kind, *key)}' already exists")
        if "network" in body and not any(body["network"].endswith(f"/{name}") for _, name in self.of("networks")):
            raise ApiError(404, "notFound", f"The resource '{body['network']}' was not found")
        self.of(kind)[key] = {**deepcopy(body), "id": str(next(self.ids)), "selfLink": self.link(kind, *key)}
        self.of(kind)[key]["creationTimestamp"] = stamp(self.now())

    def any_patch(self, kind: str, params: dict[str, str], body: Json) -> Json:
        self.one(kind, params).update(body)
        return self.operation("patch", kind, (scope_of(params), params[singular(kind)]), lambda: None)

    def any_delete(self, kind: str, params: dict[str, str], _body: None) -> Json:
        self.one(kind, params)
        key = (scope_of(params), params[singular(kind)])
        for other, where in HELD.get(kind, []):
            if any(f"/{kind}/{key[1]}" in str(item.get(where, item)) for item in self.of(other).values()):
                raise ApiError(400, "resourceInUseByAnotherResource", f"{key[1]} is already being used by {other}")
        return self.operation("delete", kind, key, lambda: self.of(kind).pop(key, None) and None)

    def one(self, kind: str, params: dict[str, str]) -> Json:
        key = (scope_of(params), params[singular(kind)])
        if key not in self.of(kind):
            raise ApiError(404, "notFound", f"The resource '{self.link(kind, *key)}' was not found")
        return self.of(kind)[key]

    # Operations.

    def operation(
        self,
        verb: str,
        kind: str,
        key: tuple[str, str],
        effect: Callable[[], None],
        fault: tuple[str, str] | None = None,
    ) -> Json:
        name = f"operation-{next(self.ids)}"
        place = "global" if key[0] == "global" else f"{'zones' if key[0] in ZONES else 'regions'}/{key[0]}"
        operation: Json = {
            "kind": "compute#operation",
            "name": name,
            "operationType": verb,
            "status": "RUNNING",
            "progress": 0,
            "targetLink": self.link(kind, *key),
            "selfLink": f"{ROOT}/projects/{self.project}/{place}/operations/{name}",
        }
        if place != "global":
            operation[place.split("/")[0][:-1]] = f"{ROOT}/projects/{self.project}/{place}"
        if fault:
            operation["error"] = {"errors": [{"code": fault[0], "message": fault[1]}]}
        self.operations[name] = operation
        self.pending.append((time.monotonic() + self.delay, operation, effect))
        self.tick()
        return deepcopy(operation)

    def any_wait(self, _kind: str, params: dict[str, str], _body: None) -> Json:
        """Hold the answer back until the operation has finished; called without the lock."""
        while self.find_operation(params)["status"] != "DONE":
            time.sleep(0.01)
        return self.find_operation(params)

    def zoneOperations_get(self, _kind: str, params: dict[str, str], _body: None) -> Json:  # noqa: N802
        return self.find_operation(params)

    regionOperations_get = globalOperations_get = zoneOperations_get  # noqa: N815

    def find_operation(self, params: dict[str, str]) -> Json:
        with self.lock:
            self.tick()
            if params["operation"] not in self.operations:
                raise ApiError(404, "notFound", f"The operation {params['operation']} was not found")
            return deepcopy(self.operations[params["operation"]])

    def link(self, kind: str, scope: str, name: str) -> str:
        place = "global" if scope == "global" else f"{'zones' if scope in ZONES else 'regions'}/{scope}"
        return f"{ROOT}/projects/{self.project}/{place}/{kind}/{name}"


def scope_of(params: dict[str, str]) -> str:
    return params.get("zone") or params.get("region") or "global"


def singular(kind: str) -> str:
    return "address" if kind == "addresses" else kind.removesuffix("s")


def named(items: list[Json], name: str, kind: str) -> Json:
    for item in items:
        if item["name"] == name:
            return item
    raise ApiError(404, "notFound", f"The resource '{kind}/{name}' was not found")


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
