"""Compute Engine as the double plays it: machines that start, end and are deleted by the platform at their time."""

import re
from datetime import datetime, timedelta

from tests.infra.gcp.catalog import ACCELERATORS, IMAGES, MACHINES, ZONES
from tests.infra.gcp.filter import Json
from tests.infra.gcp.things import ROOT, ApiError, Things, named, stamp


class Compute(Things):
    """One project's machines.

    Args:
        accounts: the service accounts that there are.
    """

    def __init__(self, project: str, delay: float, accounts: dict[str, Json]) -> None:
        super().__init__(project, delay)
        self.accounts = accounts
        self.metadata: Json = {"kind": "compute#metadata"}
        for region in {zone.rsplit("-", 1)[0] for zone in ZONES}:
            network = f"{ROOT}/projects/{project}/global/networks/default"
            own = {"name": "default", "network": network, "selfLink": self.link("subnetworks", region, "default")}
            self.of("subnetworks")[region, "default"] = own

    # What happens without anybody asking.

    def advance(self, span: timedelta) -> None:
        """Let time pass."""
        with self.lock:
            self.tick()
            self.skew += span
            self.tick()

    def tick(self) -> None:
        """Finish what is due: operations, and machines whose time has come."""
        super().tick()
        for key, machine in list(self.of("instances").items()):
            if machine["status"] == "RUNNING" and (end := ends(machine)) and end <= self.now():
                self.end(key)

    def end(self, key: tuple[str, str]) -> None:
        """The platform ends a machine: its time has come, or its capacity is wanted."""
        if self.of("instances")[key]["scheduling"].get("instanceTerminationAction") == "DELETE":
            self.gone(key)
        else:
            self.power_off(key)

    def preempt(self, name: str) -> None:
        """Take a spot machine away."""
        with self.lock:
            key = next(key for key in self.of("instances") if key[1] == name)
            assert self.of("instances")[key]["scheduling"]["provisioningModel"] == "SPOT"
            self.end(key)

    def power_off(self, key: tuple[str, str]) -> None:
        """What `shutdown` within a machine does: it ceases to run, its disk stays and is billed, no time limit acts."""
        self.of("instances")[key].update(status="TERMINATED", lastStopTimestamp=stamp(self.now()))
        self.of("instances")[key].pop("resourceStatus", None)

    def gone(self, key: tuple[str, str]) -> None:
        """A machine goes, and those of its disks that go with it."""
        machine = self.of("instances").pop(key, None)
        for disk in machine["disks"] if machine else []:
            if disk.get("autoDelete"):
                self.of("disks").pop((key[0], disk["source"].rsplit("/")[-1]), None)

    # Machines.

    def instances_insert(self, kind: str, params: dict[str, str], body: Json) -> Json:
        zone, name = params["zone"], body["name"]
        self.launchable(zone, body)
        self.keep(kind, params, body)
        machine = self.of(kind)[zone, name]
        machine.update(status="PROVISIONING", zone=f"{ROOT}/projects/{self.project}/zones/{zone}", labelFingerprint="1")
        machine.setdefault("scheduling", {}).setdefault("provisioningModel", "STANDARD")
        number = next(self.ids)
        for interface in machine.get("networkInterfaces", []):
            interface["networkIP"] = f"10.128.{number // 250}.{number % 250}"
            for access in interface.get("accessConfigs", []):
                access["natIP"] = f"203.0.113.{number % 250}"
        for disk in machine["disks"]:
            self.attach(zone, name, disk)
        fault = next(iter(self.operation_faults.get("compute.instances.insert", [])), None)
        if fault:
            self.operation_faults["compute.instances.insert"].remove(fault)
            self.gone((zone, name))
            return self.operation("insert", kind, (zone, name), lambda: None, fault)
        return self.operation("insert", kind, (zone, name), lambda: self.start((zone, name)))

    def attach(self, zone: str, name: str, disk: Json) -> None:
        wanted = disk.pop("initializeParams")
        named = [name for (_, family), image in IMAGES.items() for name in (image["name"], f"family/{family}")]
        if not any(wanted["sourceImage"].endswith(f"/{name}") for name in named):
            raise ApiError(404, "notFound", f"The resource '{wanted['sourceImage']}' was not found")
        disk["source"] = self.link("disks", zone, name)
        self.of("disks")[zone, name] = {
            "name": name,
            "labels": wanted.get("labels", {}),
            "sizeGb": str(wanted["diskSizeGb"]),
            "zone": f"{ROOT}/projects/{self.project}/zones/{zone}",
            "users": [self.link("instances", zone, name)],
            "creationTimestamp": stamp(self.now()),
        }

    def launchable(self, zone: str, body: Json) -> None:
        """Refuse what Compute Engine refuses of a machine's body."""
        plan = body.get("scheduling", {})
        machine = next((one for one in MACHINES[zone] if body["machineType"].endswith(f"/{one['name']}")), None)
        gpu = body.get("guestAccelerators") or (machine or {}).get("accelerators")
        for wrong, message in (
            (machine is None, f"Invalid value for field 'resource.machineType': '{body['machineType']}'"),
            (gpu and plan.get("onHostMaintenance") != "TERMINATE", "Instances with guest accelerators do not migrate"),
            (plan.get("provisioningModel") == "SPOT" and plan.get("automaticRestart", True), "Spot cannot restart"),
            ("terminationTime" in plan and moment(plan["terminationTime"]) <= self.now(), "terminationTime has passed"),
            ("terminationTime" in plan and "maxRunDuration" in plan, "Only one of the two limits may be given"),
            (not labels_fit(body.get("labels", {})), "Invalid value for field 'resource.labels'"),
            (not all(known(one, zone) for one in body.get("guestAccelerators", [])), "No such accelerator in the zone"),
            (not all(self.may_be(one) for one in body.get("serviceAccounts", [])), "The service account is no good"),
            (not all(self.net(one) for one in body.get("networkInterfaces", [])), "The subnetwork was not found"),
        ):
            if wrong:
                raise ApiError(400, "invalid", message)

    def may_be(self, account: Json) -> bool:
        return not self.accounts.get(account["email"], {"disabled": True}).get("disabled")

    def net(self, interface: Json) -> bool:
        return any(interface.get("subnetwork", "").endswith(f"/{name}") for _, name in self.of("subnetworks"))

    def start(self, key: tuple[str, str]) -> None:
        machine = self.of("instances").get(key)
        if machine and machine["status"] == "PROVISIONING":
            machine.update(status="RUNNING", lastStartTimestamp=stamp(self.now()))

    def instances_delete(self, kind: str, params: dict[str, str], _body: None) -> Json:
        self.one(kind, params).update(status="STOPPING")
        key = (params["zone"], params["instance"])
        return self.operation("delete", kind, key, lambda: self.gone(key))

    def instances_setLabels(self, kind: str, params: dict[str, str], body: Json) -> Json:  # noqa: N802
        machine = self.one(kind, params)
        if body["labelFingerprint"] != machine["labelFingerprint"]:
            raise ApiError(412, "conditionNotMet", "Labels fingerprint either invalid or resource labels have changed")
        machine.update(labels=body["labels"], labelFingerprint=str(int(machine["labelFingerprint"]) + 1))
        return self.operation("setLabels", kind, (params["zone"], params["instance"]), lambda: None)

    def instances_setScheduling(self, kind: str, params: dict[str, str], _body: Json) -> Json:  # noqa: N802
        if self.one(kind, params)["status"] != "TERMINATED":
            raise ApiError(400, "invalid", "Scheduling must be set while the instance is stopped")
        raise ApiError(501, "notImplemented", "the double lacks the rest of setScheduling")

    # What there is to choose from, and how much of it.

    def machineTypes_list(self, _kind: str, params: dict[str, str], _body: None) -> Json:  # noqa: N802
        return self.paged("machineType", MACHINES[params["zone"]], params)

    def machineTypes_get(self, kind: str, params: dict[str, str], _body: None) -> Json:  # noqa: N802
        return named(MACHINES[params["zone"]], params["machineType"], kind)

    def acceleratorTypes_list(self, _kind: str, params: dict[str, str], _body: None) -> Json:  # noqa: N802
        return self.paged("acceleratorType", ACCELERATORS[params["zone"]], params)

    def zones_get(self, kind: str, params: dict[str, str], _body: None) -> Json:
        return named([{"name": zone, "status": "UP"} for zone in ZONES], params["zone"], kind)

    def zones_list(self, _kind: str, params: dict[str, str], _body: None) -> Json:
        return self.paged("zone", [{"name": zone, "status": "UP"} for zone in ZONES], params)

    def regions_get(self, _kind: str, params: dict[str, str], _body: None) -> Json:
        shown = [{"metric": name, "limit": limit, "usage": 0.0} for name, limit in self.quotas.items()]
        return {"name": params["region"], "quotas": [one for one in shown if one["metric"] != "GPUS_ALL_REGIONS"]}

    def projects_get(self, _kind: str, _params: dict[str, str], _body: None) -> Json:
        limit = self.quotas["GPUS_ALL_REGIONS"]
        quotas = [{"metric": "GPUS_ALL_REGIONS", "limit": limit, "usage": 0.0}]
        return {"name": self.project, "quotas": quotas, "commonInstanceMetadata": self.metadata}

    def projects_setCommonInstanceMetadata(self, _kind: str, _params: dict[str, str], body: Json) -> Json:  # noqa: N802
        self.metadata = body
        return self.operation("setMetadata", "projects", ("global", self.project), lambda: None)

    def images_getFromFamily(self, _kind: str, params: dict[str, str], _body: None) -> Json:  # noqa: N802
        if (params["project"], params["family"]) not in IMAGES:
            raise ApiError(404, "notFound", f"The resource '{params['family']}' was not found")
        return IMAGES[params["project"], params["family"]]


def known(accelerator: Json, zone: str) -> bool:
    return any(accelerator["acceleratorType"].endswith(f"/{one['name']}") for one in ACCELERATORS[zone])


def labels_fit(labels: dict[str, str]) -> bool:
    return all(
        re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) and re.fullmatch(r"[a-z0-9_-]{0,63}", value)
        for key, value in labels.items()
    )


def ends(machine: Json) -> datetime | None:
    """When the platform ends a running machine, if ever."""
    plan = machine["scheduling"]
    if "terminationTime" in plan:
        return moment(plan["terminationTime"])
    if "maxRunDuration" in plan:
        return moment(machine["lastStartTimestamp"]) + timedelta(seconds=int(plan["maxRunDuration"]["seconds"]))
    return None


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
