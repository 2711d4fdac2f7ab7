"""What stands in front of moto: it can answer as a cloud in trouble does, and takes the tests' orders.

POST /pretend/faults   {"action": "RunInstances", "code": "InsufficientInstanceCapacity", "times": 3}
POST /pretend/hide     {"seconds": 5}        a new machine is not described for so long
POST /pretend/order    {"order": "cut", "machine": "i-..."}      or uncut, reboot, freeze
GET  /pretend/machines every machine that runs: its id, first process and address
GET  /pretend/calls    how often each action has been called
"""

import http.client
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.pretend_aws import catalog
from tests.pretend_aws.faults import hide, not_found, refusal
from tests.pretend_aws.watcher import Watcher

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "server", "date"}


@dataclass
class Fault:
    """An answer that is given in moto's place.

    Attributes:
        action: as `RunInstances`, of whichever service.
        code: as `RequestLimitExceeded`.
        times: how often still.
        holds: a part of the request that must be in it, as a cluster's name.
        drop: the request is carried out and the answer is lost.
    """

    action: str
    code: str = ""
    times: int = 1
    holds: str = ""
    drop: bool = False


@dataclass
class Trouble:
    """What goes wrong just now."""

    faults: list[Fault] = field(default_factory=list)
    hidden: float = 0.0
    born: dict[str, float] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, action: str, body: str) -> Fault | None:
        """Return the fault that this request meets, if any, and count it."""
        with self.lock:
            self.calls[action] += 1
            for fault in self.faults:
                if fault.times > 0 and fault.action == action and fault.holds in body:
                    fault.times -= 1
                    return fault
        return None

    def young(self) -> set[str]:
        """Machines that the cloud does not tell of yet."""
        with self.lock:
            return {name for name, at in self.born.items() if time.monotonic() - at < self.hidden}

    def learn(self, answer: str) -> None:
        """Note the machines that an answer to RunInstances names."""
        with self.lock:
            for name in re.findall(r"<instanceId>(i-[0-9a-f]+)</instanceId>", answer):
                self.born.setdefault(name, time.monotonic())


def action_of(headers: Any, path: str, body: str) -> str:
    """Name what a request asks for: AWS has it in the form, in a header, or in method and path."""
    if target := headers.get("X-Amz-Target"):
        return str(target).rpartition(".")[2]
    query = parse_qs(body if "Action=" in body else urlsplit(path).query)
    return query.get("Action", [""])[0]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    trouble: Trouble
    watcher: Watcher
    upstream: str

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/pretend/"):
            try:
                return self._pretend(self.path.removeprefix("/pretend/"), body)
            except Exception as error:
                return self._answer(400, f"{type(error).__name__}: {error}".encode(), {})
        text = body.decode(errors="replace")
        action = action_of(self.headers, self.path, text)
        if action == "RunInstances":
            body = catalog.resolved(body)
        fault = self.trouble.take(action, text)
        if fault and not fault.drop:
            return self._answer(*refusal(fault.code, self.headers), {})
        young = self.trouble.young()
        if action != "RunInstances" and (named := next((name for name in young if name in text), "")):
            return self._answer(*not_found(named), {})
        if (known := catalog.answer(action, text)) is not None:
            return self._answer(200, known, {"Content-Type": "application/x-amz-json-1.1"})
        status, answer, headers = self._forward(body)
        if fault:
            self.close_connection = True
            return None
        if status == HTTPStatus.INTERNAL_SERVER_ERROR and answer.startswith(b"<!doctype html"):
            # moto has tripped, as over two requests at once; AWS says so in its own language, and is asked again.
            return self._answer(*refusal("InternalError", self.headers), {})
        if action == "RunInstances":
            self.trouble.learn(answer.decode())
        elif action == "DescribeInstances" and young:
            answer = hide(answer, young)
        return self._answer(status, answer, headers)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _any  # noqa: N815

    def _forward(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        host, _, port = self.upstream.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=120)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
        connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
        response = connection.getresponse()
        answer = response.read()
        kept = {k: v for k, v in response.getheaders() if k.lower() not in _HOP}
        if self.command == "HEAD":
            kept["Content-Length"] = response.getheader("Content-Length") or "0"
        connection.close()
        return response.status, answer, kept

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _pretend(self, what: str, body: bytes) -> None:
        said = json.loads(body or b"{}")
        told: Any = {}
        if what == "faults":
            with self.trouble.lock:
                self.trouble.faults = [Fault(**one) for one in said]
        elif what == "hide":
            self.trouble.hidden = said["seconds"]
        elif what == "order":
            self.watcher.order(said["order"], said["machine"])
        elif what == "machines":
            told = self.watcher.running()
        elif what == "calls":
            told = dict(self.trouble.calls)
        self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def serve(host: str, port: int, upstream: str, watcher: Watcher) -> ThreadingHTTPServer:
    """Start the proxy in a thread."""
    made = type("Handler", (Handler,), {"trouble": Trouble(), "watcher": watcher, "upstream": upstream})
    server = ThreadingHTTPServer((host, port), made)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
