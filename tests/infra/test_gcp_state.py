"""GCP as a node asks it: on loopback, each request checked against the discovery document of compute v1."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.node import cloud
from infra.node.facts import Facts
from infra.userdata import NodeFacts
from tests.infra.gcp.discovery import find
from tests.infra.gcp.filter import matches
from tests.infra.nodes import Site

ZONE = "europe-west4-a"
INSTANCES = f"/compute/v1/projects/fifty-1/zones/{ZONE}/instances"
METADATA = {
    "instance/service-accounts/default/token": json.dumps({"access_token": "a token", "expires_in": 100}),
    "project/project-id": "fifty-1",
    "instance/zone": f"projects/1/zones/{ZONE}",
    "instance/name": "worker-1",
}


class World:
    """The machines, what was asked, and what was wrong with it."""

    def __init__(self) -> None:
        self.machines: dict[str, dict[str, Any]] = {}
        self.problems: list[str] = []
        self.deny = False
        self.host = ""

    def machine(self, name: str, status: str = "RUNNING", **labels: str) -> None:
        ours = {"fifty-project": "fifty", "fifty-cluster": "main", "fifty-run": "r", "ray-node-status": "up-to-date"}
        self.machines[name] = {
            "name": name,
            "status": status,
            "labels": {**ours, "fifty-role": "worker", **{k.replace("_", "-"): v for k, v in labels.items()}},
            "creationTimestamp": "2026-11-26T08:00:00.123-08:00",
        }

    def answer(self, verb: str, url: str) -> tuple[int, Any]:
        parts, query = urlsplit(url), parse_qs(urlsplit(url).query)
        found = find("compute.googleapis.com", verb, parts.path)
        self.problems += found[0].problems(query, None) if found else [f"no such method: {verb} {parts.path}"]
        if self.deny:
            return 403, {"error": {"code": 403, "message": "Required 'compute.instances.delete' permission"}}
        if verb == "DELETE":
            gone = self.machines.pop(parts.path.rpartition("/")[2], None)
            return (200, {}) if gone else (404, {"error": {"code": 404}})
        ours = [item for item in self.machines.values() if matches(query["filter"][0], item)]
        start = int(query.get("pageToken", ["0"])[0])
        more = {"nextPageToken": str(start + 2)} if start + 2 < len(ours) else {}
        return 200, {"items": ours[start : start + 2], **more} if ours else {}


@pytest.fixture
def world() -> Iterator[World]:
    world = World()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/computeMetadata/v1/"):
                text = METADATA.get(self.path.removeprefix("/computeMetadata/v1/"))
                self.reply(200 if text and self.headers["Metadata-Flavor"] == "Google" else 404, text or "")
            else:
                self.api()

        def do_DELETE(self) -> None:
            self.api()

        def api(self) -> None:
            code, body = world.answer(self.command, self.path)
            known = self.headers["Authorization"] == "Bearer a token"
            self.reply(code if known else 401, json.dumps(body))

        def reply(self, code: int, text: str) -> None:
            self.send_response_only(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        world.host = f"127.0.0.1:{server.server_port}"
        yield world
        server.shutdown()
        thread.join()
    assert not world.problems


@pytest.fixture
def gcp(world: World, monkeypatch: pytest.MonkeyPatch) -> cloud.Cloud:
    monkeypatch.setenv("GCE_METADATA_HOST", world.host)
    monkeypatch.setenv("FIFTY_COMPUTE_URL", f"http://{world.host}/compute/v1")
    return cloud.connect(Facts("gcp", "", "fifty", "main", "r", "head", 1, None, 10.0))


def test_workers_are_found_by_their_labels_page_by_page(world: World, gcp: cloud.Cloud) -> None:
    for number in range(5):
        world.machine(f"worker-{number}")
    world.machine("head", fifty_role="head")
    world.machine("rays-head", ray_node_type="head", fifty_role="")
    world.machine("other", fifty_cluster="other")
    world.machine("earlier", fifty_run="another")
    world.machine("off", "TERMINATED", ray_node_status="update-failed")
    world.machine("going", "STOPPING")
    found = {worker.id: worker for worker in gcp.workers()}
    assert set(found) == {*(f"worker-{number}" for number in range(5)), "off", "going"}
    # Off is not gone: the disk is there, and billed.
    assert {name for name, worker in found.items() if not worker.costs} == {"going"}
    assert found["off"].status == "update-failed"
    assert found["off"].launched == datetime(2026, 11, 26, 16, 0, 0, 123000, tzinfo=UTC)


def test_ended_are_all_and_one_that_is_gone_is_no_fault(world: World, gcp: cloud.Cloud) -> None:
    for number in range(30):
        world.machine(f"worker-{number}")
    gcp.terminate([f"worker-{number}" for number in range(31)])
    assert world.machines == {}


def test_the_deadline_is_the_platforms(gcp: cloud.Cloud) -> None:
    assert gcp.deadline() is None


def test_a_right_that_is_missing_is_a_fault(world: World, gcp: cloud.Cloud) -> None:
    world.machine("worker-1")
    world.deny = True
    with pytest.raises(OSError, match="HTTP 403"):
        gcp.terminate(["worker-1"])


@pytest.mark.parametrize("deny", [False, True])
def test_past_its_deadline_a_machine_deletes_itself_and_halts_whatever_comes_of_it(
    tmp_path: Path, world: World, deny: bool
) -> None:
    site = Site(tmp_path)
    site.variables = {"GCE_METADATA_HOST": world.host, "FIFTY_COMPUTE_URL": f"http://{world.host}/compute/v1"}
    past = datetime.now(UTC) - timedelta(seconds=1)
    site.born(NodeFacts("gcp", ZONE, "fifty", "main", "r", "worker", past, 10.0))
    world.machine("worker-1")
    world.deny = deny
    site.deadman()
    assert ("worker-1" in world.machines) is deny
    assert site.off
