"""A double of Google Cloud on loopback, which Ray's own provider and ours talk to as if it were Google.

It is a proxy: with `https_proxy` and a certificate authority of its own in the environment, whatever asks
`compute.googleapis.com` gets here, encrypted as ever, and no client needs to know. Every request is checked against the
discovery document of its interface, and so is every answer. Failures can be injected.

    with Double() as double:
        subprocess.run([...], env={**os.environ, **double.environment(folder)})
    assert not double.problems
"""

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.infra.gcp.accounts import Accounts, Storage
from tests.infra.gcp.compute import Compute
from tests.infra.gcp.discovery import Json, Method, find
from tests.infra.gcp.serving import Server
from tests.infra.gcp.things import ApiError
from tests.infra.gcp.tls import Authority, login

PROJECT = "fifty-test"


@dataclass
class Fault:
    """What goes wrong with the next calls of a method; `acted`: it is done all the same and only the answer is lost."""

    status: int
    reason: str
    message: str
    times: int = 1
    acted: bool = False


class Double:
    """The whole of it: a project, its state, and a server.

    Args:
        delay: seconds until an operation has finished.
        address: where it listens.
    """

    def __init__(self, delay: float = 0.0, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.accounts, self.storage = Accounts(PROJECT), Storage()
        self.compute = Compute(PROJECT, delay, self.accounts.accounts)
        self.calls: list[tuple[str, Json, Any]] = []
        self.problems: list[str] = []
        self.faults: dict[str, Fault] = {}
        self.before: dict[str, Callable[[], None]] = {}
        self.revoked = False
        # Which machine asks, by its address, and what a test has to say at /pretend/...
        self.asks: Callable[[str], str] = lambda _: ""
        self.order: Callable[[str, Any], Any] | None = None
        self.authority = Authority()
        self.server = Server(address, self.authority, self.answer)

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, folder: Path) -> dict[str, str]:
        """The environment in which a process talks to the double, its credentials' file in `folder`."""
        return {
            **self.way(self.authority.write(folder / "double.pem")),
            "GOOGLE_APPLICATION_CREDENTIALS": str(login(folder / "login.json")),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "NO_GCE_CHECK": "true",
            "CLOUDSDK_CONFIG": str(folder),
        }

    def way(self, certificates: Path) -> dict[str, str]:
        """The variables that lead a process here when it asks for Google; the file is that of `Authority.write`."""
        proxy = f"http://{self.server.here}"
        return {
            "https_proxy": proxy,
            "HTTPS_PROXY": proxy,
            "no_proxy": "127.0.0.1,localhost",
            "HTTPLIB2_CA_CERTS": str(certificates),
            "REQUESTS_CA_BUNDLE": str(certificates),
            "SSL_CERT_FILE": str(certificates),
        }

    def inside(self, machine: str = "") -> dict[str, str]:
        """The environment within a machine: its metadata server, and Compute Engine without a proxy."""
        if machine:
            self.asks = lambda _: machine
        return {
            "GCE_METADATA_HOST": self.server.here,
            "GCE_METADATA_IP": self.server.here,
            "FIFTY_COMPUTE_URL": f"http://{self.server.here}/compute/v1",
        }

    def metadata(self, path: str, caller: str) -> tuple[int, str, bytes]:
        """What the metadata server tells a machine that calls from an address."""
        account = {"email": "default", "aliases": ["default"], "scopes": ["https://www.googleapis.com/auth/compute"]}
        token = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        told = {
            "instance/name": self.asks(caller),
            "project/project-id": PROJECT,
            "instance/service-accounts/default/": json.dumps(account),
            "instance/service-accounts/default/token": json.dumps(token),
        }
        found = told.get(path.removeprefix("/computeMetadata/v1/"))
        kind = "application/json" if (found or "").startswith("{") else "text/plain"
        return (404, kind, b"") if found is None else (200, kind, found.encode())

    def fail(self, method: str, status: int, reason: str, message: str = "injected", **how: Any) -> None:
        """Have the next calls of a method, as `compute.instances.insert`, fail."""
        self.faults[method] = Fault(status, reason, message, **how)

    def fail_operation(self, method: str, code: str, message: str, times: int = 1) -> None:
        """Have a call succeed, and what it began end in an error."""
        self.compute.operation_faults.setdefault(method, []).extend([(code, message)] * times)

    def count(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(method for method, _, _ in self.calls)

    def bodies(self, method: str) -> list[Any]:
        """What each call of a method sent."""
        return [body for called, _, body in self.calls if called == method]

    def left(self) -> list[str]:
        """All that is there and would be nobody's after a `fifty down`, as `kind/name`."""
        kinds = self.compute.things.items()
        things = [f"{kind}/{name}" for kind, items in kinds for _, name in items if name != "default"]
        accounts = [f"account/{email}" for email in self.accounts.accounts]
        bindings = self.accounts.policies[PROJECT]["bindings"]
        members = [member for binding in bindings for member in binding["members"] if "gserviceaccount" in member]
        return sorted([*things, *accounts, *members])

    def answer(
        self, host: str, verb: str, target: str, headers: Any, content: bytes, caller: str = ""
    ) -> tuple[int, str, bytes]:
        """Answer one request; `caller` is the address that it comes from."""
        url = urlsplit(target)
        if url.path == "/":  # whether there is a metadata server
            return 200, "text/plain", b""
        if url.path.startswith("/computeMetadata/"):
            return self.metadata(url.path, caller)
        if self.order and url.path.startswith("/pretend/"):
            told = self.order(url.path.removeprefix("/pretend/"), json.loads(content or b"null"))
            return 200, "application/json", json.dumps(told).encode()
        if host == "oauth2.googleapis.com":
            return self.token()
        if host == "openidconnect.googleapis.com":
            return 200, "application/json", json.dumps({"email": "Some.Body@example.com"}).encode()
        try:
            if f"Bearer {TOKEN}" != headers["Authorization"]:
                raise ApiError(401, "authError", "Request had invalid authentication credentials.")
            found = find(host, verb, url.path)
            if not found:
                raise ApiError(404, "noSuchMethod", f"no method of the discovery documents: {verb} {host}{url.path}")
            return self.dispatch(*found, parse_qs(url.query, keep_blank_values=True), headers, content)
        except ApiError as raised:
            error = raised
        except Exception as raised:
            self.problems.append(f"the double failed: {raised!r}")
            error = ApiError(500, "backendError", repr(raised))
        if error.reason in ("noSuchMethod", "notImplemented"):
            self.problems.append(error.message)
        detail = {"message": error.message, "domain": "global", "reason": error.reason}
        body = {"error": {"code": error.status, "message": error.message, "errors": [detail]}}
        return error.status, "application/json", json.dumps(body).encode()

    def dispatch(
        self, method: Method, path: dict[str, str], query: dict[str, list[str]], headers: Any, content: bytes
    ) -> tuple[int, str, bytes]:
        media = "uploadType" in query
        body = upload(headers, content) if media else json.loads(content) if content else None
        problems = method.problems(query, None if media else body)
        if problems:
            self.problems.extend(f"{method.id}: {problem}" for problem in problems)
            raise ApiError(400, "badRequest", "; ".join(problems))
        params = {**path, **{name: values[0] for name, values in query.items()}}
        self.calls.append((method.id, params, body))
        if hook := self.before.pop(method.id, None):
            hook()
        fault = self.next_fault(method.id)
        if fault and not fault.acted:
            raise ApiError(fault.status, fault.reason, fault.message)
        answer = self.act(method.id, params, body)
        if fault:
            raise ApiError(fault.status, fault.reason, fault.message)
        if isinstance(answer, bytes):
            return 200, "application/octet-stream", answer
        self.problems += [f"answer of {method.id}: {problem}" for problem in method.answer_problems(answer)]
        return 200, "application/json", json.dumps(answer).encode()

    def next_fault(self, method: str) -> Fault | None:
        fault = self.faults.get(method)
        if fault:
            fault.times -= 1
            if fault.times <= 0:
                del self.faults[method]
        return fault

    def act(self, method: str, params: Json, body: Any) -> Any:
        service, _, rest = method.partition(".")
        if service == "compute":
            kind, _, verb = rest.partition(".")
            if verb == "wait":
                return self.compute.any_wait(kind, params, body)
            with self.compute.lock:
                self.compute.tick()
                return self.compute.call(kind, verb, params, body)
        owner = self.storage if service in ("storage", "cloudbilling") else self.accounts
        action = getattr(owner, method.replace(".", "_"), None)
        if action is None:
            raise ApiError(501, "notImplemented", f"the double lacks {method}")
        with self.compute.lock:
            return action(params, body)

    def token(self) -> tuple[int, str, bytes]:
        """Google's token server: gives whoever asks a token, or says that the credentials are no longer good."""
        if self.revoked:
            error = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
            return 400, "application/json", json.dumps(error).encode()
        return 200, "application/json", json.dumps({"access_token": TOKEN, "expires_in": 3600}).encode()


TOKEN = "token-of-the-double"


def upload(headers: Any, content: bytes) -> bytes:
    """What is uploaded, by itself or after a part that describes it."""
    kind = headers["Content-Type"]
    if not kind.startswith("multipart/related"):
        return content
    whole = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content, policy=policy.HTTP)
    return bytes(list(whole.iter_parts())[-1].get_payload(decode=True))
