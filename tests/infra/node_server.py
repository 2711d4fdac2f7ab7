"""Plays, on loopback, what a node asks over HTTP: AWS's Parameter Store, EC2 and metadata, and Ray's dashboard.

Every request to AWS must bear the signature that botocore's own signer gives it.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.infra.nodes import KEYS

EC2 = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'


class World:
    """What the server tells and what it has been told.

    Attributes:
        parameters: of the Parameter Store.
        instances: by id: `state`, `tags`, `launched`.
        slow: seconds that the world's clock is ahead of this machine's.
        keys: key id, secret and session token that a request must be signed with.
        ray: what the dashboard answers, by path and state; None: it is dead.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        self.instances: dict[str, dict[str, Any]] = {}
        self.slow = 0.0
        self.keys = (KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], "")
        self.ray: dict[str, bool] | None = None
        self.token = "open sesame"
        self.page = 1000
        self.asked: list[str] = []
        self.url = ""

    def instance(self, name: str, status: str = "up-to-date", state: str = "running", **tags: str) -> None:
        ours = {"fifty-project": "fifty", "fifty-cluster": "main", "fifty-run": "fifty-1", "ray-node-status": status}
        launched = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 1))
        self.instances[name] = {
            "state": state,
            "tags": {**ours, "fifty-role": "worker", **{k.replace("_", "-"): v for k, v in tags.items()}},
            "launched": launched,
        }

    def signed(self, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        given = handler.headers["Authorization"]
        scope, names, signature = (part.split("=", 1)[1] for part in given.split(" ", 1)[1].split(", "))
        _, _, region, service, _ = scope.split("/")
        sent = {name: handler.headers[name] for name in names.split(";") if name != "x-amz-date"}
        request = AWSRequest("POST", f"http://{handler.headers['Host']}/", headers=sent, data=body)
        key, secret, token = self.keys
        request.context["timestamp"] = handler.headers["X-Amz-Date"]
        request.headers["X-Amz-Date"] = handler.headers["X-Amz-Date"]
        signer = SigV4Auth(Credentials(key, secret, token or None), service, region)
        wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        stamp = time.mktime(time.strptime(handler.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")) - time.timezone
        return signature == wanted and abs(stamp - time.time() - self.slow) < 300

    def parameter(self, body: bytes) -> tuple[int, str]:
        value = self.parameters.get(json.loads(body)["Name"])
        if value is None:
            return 400, json.dumps({"__type": "ParameterNotFound"})
        return 200, json.dumps({"Parameter": {"Value": value}})

    def ec2(self, form: dict[str, str]) -> tuple[int, str]:
        self.asked.append(form["Action"])
        if form["Action"] == "TerminateInstances":
            for name in [value for key, value in form.items() if key.startswith("InstanceId.")]:
                self.instances[name]["state"] = "shutting-down"
            return 200, f"<TerminateInstancesResponse {EC2}/>"
        filters = {}
        for n in range(1, 4):
            if f"Filter.{n}.Name" in form:
                filters[form[f"Filter.{n}.Name"].removeprefix("tag:")] = form[f"Filter.{n}.Value.1"]
        ours = [
            (name, told)
            for name, told in self.instances.items()
            if all(told["tags"].get(tag) == value for tag, value in filters.items())
        ]
        start = int(form.get("NextToken", "0"))
        more = f"<nextToken>{start + self.page}</nextToken>" if start + self.page < len(ours) else ""
        items = "".join(_item(name, told) for name, told in ours[start : start + self.page])
        sets = f"<reservationSet><item><instancesSet>{items}</instancesSet></item></reservationSet>"
        return 200, f"<DescribeInstancesResponse {EC2}>{sets}{more}</DescribeInstancesResponse>"

    def metadata(self, path: str) -> tuple[int, str]:
        role = "/latest/meta-data/iam/security-credentials/"
        key, secret, token = self.keys
        answers = {
            "/latest/api/token": "a token",
            "/latest/meta-data/placement/region": "eu-west-1",
            role: "node",
            f"{role}node": json.dumps({"AccessKeyId": key, "SecretAccessKey": secret, "Token": token}),
        }
        return (200, answers[path]) if path in answers else (404, "")

    def dashboard(self, path: str, query: dict[str, list[str]], authorization: str) -> tuple[int, str]:
        if self.ray is None or authorization != f"Bearer {self.token}":
            return 401, "Unauthorized"
        if path == "/api/component_activities":
            return 200, json.dumps({"driver": {"is_active": "ACTIVE" if self.ray.get("driver") else "INACTIVE"}})
        named = f"{path.rpartition('/')[2]} {query['filter_values'][0]}"
        return 200, json.dumps({"data": {"result": {"result": [{}] if self.ray.get(named) else []}}})


def _item(name: str, told: dict[str, Any]) -> str:
    tags = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in told["tags"].items())
    state = f"<instanceState><name>{told['state']}</name></instanceState>"
    launched = f"<launchTime>{told['launched']}</launchTime>"
    return f"<item><instanceId>{name}</instanceId>{state}{launched}<tagSet>{tags}</tagSet></item>"


@contextmanager
def serving() -> Iterator[World]:
    """Serve a world on a free port until the block ends."""
    world = World()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.answer(*world.metadata(self.path))

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path.startswith("/latest/"):
                known = self.headers["X-aws-ec2-metadata-token"] == "a token"
                self.answer(*(world.metadata(parts.path) if known else (401, "")))
            else:
                query, authorization = parse_qs(parts.query), self.headers["Authorization"] or ""
                self.answer(*world.dashboard(parts.path, query, authorization))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not world.signed(self, body):
                self.answer(403, "the signature does not match")
            elif self.headers["X-Amz-Target"]:
                self.answer(*world.parameter(body))
            else:
                self.answer(*world.ec2(dict(parse_qsl(body.decode()))))

        def answer(self, code: int, text: str) -> None:
            self.send_response_only(code)
            self.send_header("Date", formatdate(time.time() + world.slow, usegmt=True))
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        world.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield world
        finally:
            server.shutdown()
            thread.join()
