"""GCP as a node asks it: the workers from Compute Engine. The deadline is the platform's own, fixed at launch."""

from __future__ import annotations  # for Python 3.9

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from infra.node.cloud import Worker
from infra.node.facts import Facts

TIMEOUT = 5  # seconds


class Gcp:
    """Implements `infra.node.cloud.Cloud`; `facts.region` is the zone."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def deadline(self) -> tuple[int, float] | None:
        """None: `terminationTime` cannot be moved while a machine runs."""
        return None

    def workers(self) -> list[Worker]:
        """Ask for the machines with the cluster's labels that are no head."""
        labels = {"fifty-project": self.facts.project, "fifty-cluster": self.facts.cluster, "fifty-run": self.facts.run}
        wanted = " AND ".join(f"(labels.{name} = {value})" for name, value in labels.items() if value)
        found: list[Worker] = []
        page = ""
        while True:
            query = urlencode({"filter": wanted, "maxResults": 500, **({"pageToken": page} if page else {})})
            answer = self._call("GET", f"?{query}")
            found += [worker for item in answer.get("items", []) if (worker := _worker(item)) is not None]
            page = answer.get("nextPageToken", "")
            if not page:
                return found

    def terminate(self, ids: list[str]) -> None:
        """Delete machines, whose disks go with them; one that is gone is no fault."""
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda name: self._call("DELETE", f"/{quote(name)}"), ids))

    def end_self(self) -> None:
        """Delete this machine: one that is halted keeps its disk, which costs money until the platform's time."""
        self._call("DELETE", f"/{quote(_metadata('instance/name'))}")

    def _call(self, method: str, rest: str) -> dict[str, Any]:
        token = json.loads(_metadata("instance/service-accounts/default/token"))["access_token"]
        base = os.environ.get("FIFTY_COMPUTE_URL", "https://compute.googleapis.com/compute/v1").rstrip("/")
        zone = self.facts.region or _metadata("instance/zone").rpartition("/")[2]
        url = f"{base}/projects/{_metadata('project/project-id')}/zones/{zone}/instances{rest}"
        try:
            with _open(Request(url, method=method, headers={"Authorization": f"Bearer {token}"})) as reply:  # noqa: S310
                answer: dict[str, Any] = json.load(reply)
                return answer
        except HTTPError as error:
            if error.code == 404 and method == "DELETE":
                return {}
            raise OSError(f"compute: HTTP {error.code}: {error.read(300).decode(errors='replace')}") from None


def _metadata(path: str) -> str:
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    asked = Request(f"http://{host}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"})
    with _open(asked) as reply:
        text: str = reply.read().decode()
        return text


def _open(request: Request) -> Any:
    return build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT)


def _worker(item: dict[str, Any]) -> Worker | None:
    labels = item.get("labels", {})
    if "head" in (labels.get("fifty-role"), labels.get("ray-node-type")):
        return None
    launched = datetime.fromisoformat(item["creationTimestamp"].replace("Z", "+00:00"))
    # A TERMINATED machine is off but there; only when it is deleted does its disk cost nothing.
    return Worker(item["name"], item["status"] != "STOPPING", labels.get("ray-node-status", ""), launched)
