"""A moto server in a process of its own, and a loopback double of the two services that moto lacks.

moto stands in for AWS; it is asked over HTTP, as AWS is. It has no Pricing API and no EC2 quotas: `Double` answers for
these with what a test puts into it.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

GPU_IMAGE, OLD_GPU_IMAGE, PLAIN_IMAGE = "ami-0000000000000gpu2", "ami-0000000000000gpu1", "ami-000000000000plain"
SERVE = """
import sys, threading
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


def images() -> list[dict[str, Any]]:
    """Images as MOTO_AMIS_PATH has them: of the GPU's an older and a newer one, and a plain one."""
    common = {
        "description": "",
        "public": True,
        "virtualization_type": "hvm",
        "architecture": "x86_64",
        "state": "available",
        "platform": None,
        "image_type": "machine",
        "hypervisor": "xen",
        "root_device_name": "/dev/sda1",
        "root_device_type": "ebs",
        "sriov": "simple",
        "tags": {},
    }
    gpu = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04)"
    plain = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261001"
    named = (
        (OLD_GPU_IMAGE, f"{gpu} 20260901", "898082745236", "2026-09-01T00:00:00.000Z"),
        (GPU_IMAGE, f"{gpu} 20261101", "898082745236", "2026-11-01T00:00:00.000Z"),
        (PLAIN_IMAGE, plain, "099720109477", "2026-10-01T00:00:00.000Z"),
    )
    return [
        {**common, "ami_id": id_, "name": name, "owner_id": owner, "creation_date": at}
        for id_, name, owner, at in named
    ]


@contextmanager
def moto(folder: Path) -> Iterator[str]:
    """Run a moto server; yields its address."""
    amis = folder / "amis.json"
    amis.write_text(json.dumps(images()))
    environment = {**os.environ, "MOTO_AMIS_PATH": str(amis)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdout
    assert process.stdin
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(20)


def reset(address: str) -> None:
    """Forget everything."""
    _post(f"{address}/moto-api/reset", b"")


def enforce(address: str, after: float) -> None:
    """From so many requests on, moto asks IAM; infinity: never."""
    _post(f"{address}/moto-api/reset-auth", str(after).encode())


def _post(address: str, body: bytes) -> None:
    request = Request(address, data=body, method="POST", headers={"Content-Type": "text/plain"})  # noqa: S310
    with urlopen(request, timeout=10):  # noqa: S310
        pass


class Double:
    """Pricing and Service Quotas, by the JSON protocol that boto3 speaks to them.

    Attributes:
        products: by service code, what get_products answers, each with the attributes that filters are compared to.
        quotas: the value of each quota by its code; one that is missing is no quota.
        errors: for a target's name, the error code to answer once per entry.
        asked: the name of every request.
    """

    def __init__(self) -> None:
        self.products: dict[str, list[Any]] = {}
        self.quotas: dict[str, float] = {}
        self.errors: dict[str, list[str]] = {}
        self.asked: list[str] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                name = self.headers["X-Amz-Target"].split(".")[-1]
                double.asked.append(name)
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = double.answer(name, body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def clear(self) -> None:
        for kept in (self.products, self.quotas, self.errors, self.asked):
            kept.clear()

    def answer(self, name: str, body: Any) -> tuple[int, Any]:
        if self.errors.get(name):
            return 400, {"__type": self.errors[name].pop(0), "message": "as the test wants it"}
        if name == "GetProducts":
            return 200, self._page(body)
        if body["QuotaCode"] in self.quotas:
            return 200, {"Quota": {"QuotaCode": body["QuotaCode"], "Value": self.quotas[body["QuotaCode"]]}}
        return 400, {"__type": "NoSuchResourceException", "message": "no such quota"}

    def _page(self, body: Any) -> Any:
        """Two products a page."""
        wanted = {one["Field"]: one["Value"] for one in body["Filters"]}
        found = []
        for product in self.products.get(body["ServiceCode"], []):
            if isinstance(product, str):
                found.append(product)
                continue
            attributes = product["product"].get("attributes") or {}
            if all(attributes.get(field, value) == value for field, value in wanted.items()):
                found.append(json.dumps(product))
        start = int(body.get("NextToken", 0))
        more = {"NextToken": str(start + 2)} if start + 2 < len(found) else {}
        return {"PriceList": found[start : start + 2], **more}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
