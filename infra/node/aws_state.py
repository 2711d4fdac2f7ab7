"""AWS as a node asks it: the deadline from the Parameter Store, the workers from EC2."""

from __future__ import annotations  # for Python 3.9

import json
import os
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener
from xml.etree import ElementTree

from infra.node.cloud import Worker
from infra.node.facts import Facts, moment
from infra.node.sigv4 import signed

TIMEOUT = 5  # seconds; a check has half a minute
ENDED = ("terminated", "shutting-down")


class Aws:
    """Implements `infra.node.cloud.Cloud`."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def deadline(self) -> tuple[int, float] | None:
        """Read the parameter that `fifty extend` changes."""
        name = f"/fifty/{self.facts.project}/{self.facts.cluster}/deadline"
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonSSM.GetParameter"}
        answer, date = self._post("ssm", json.dumps({"Name": name}).encode(), headers)
        return int(json.loads(answer)["Parameter"]["Value"]), date

    def workers(self) -> list[Worker]:
        """Ask EC2 for the machines with the cluster's tags that are no head."""
        found: list[Worker] = []
        page = ""
        while True:
            root = self._ec2("DescribeInstances", **self._ours(), **({"NextToken": page} if page else {}))
            found += [worker for item in _all(root, "instancesSet") if (worker := _worker(item)) is not None]
            page = _text(root, "nextToken")
            if not page:
                return found

    def terminate(self, ids: list[str]) -> None:
        """End machines for good, a hundred at a time."""
        for at in range(0, len(ids), 100):
            named = {f"InstanceId.{n}": name for n, name in enumerate(ids[at : at + 100], 1)}
            self._ec2("TerminateInstances", **named)

    def end_self(self) -> None:
        """Nothing: InstanceInitiatedShutdownBehavior makes a halt a termination."""

    def _ours(self) -> dict[str, str]:
        filters = {"fifty-project": self.facts.project, "fifty-cluster": self.facts.cluster}
        if self.facts.run:
            filters["fifty-run"] = self.facts.run
        asked = {}
        for n, (tag, value) in enumerate(filters.items(), 1):
            asked[f"Filter.{n}.Name"], asked[f"Filter.{n}.Value.1"] = f"tag:{tag}", value
        return asked

    def _ec2(self, action: str, **parameters: str) -> ElementTree.Element:
        body = urlencode({"Action": action, "Version": "2016-11-15", **parameters}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        answer, _ = self._post("ec2", body, headers)
        root = ElementTree.fromstring(answer)  # noqa: S314 (EC2's own answer, over TLS)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    def _post(self, service: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, float]:
        """Send a request; once more, by the cloud's clock, where ours is so wrong that the signature is refused."""
        credentials = _credentials()
        region = self.facts.region or _metadata("placement/region", _metadata_token())
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        url = os.environ.get("AWS_ENDPOINT_URL") or f"https://{service}.{region}.{suffix}"
        now = time.time()
        for _ in range(2):
            sent = signed(url, body, headers, service, region, credentials, moment(now))
            try:
                with _open(Request(f"{url.rstrip('/')}/", data=body, headers=sent)) as reply:  # noqa: S310
                    return reply.read(), _date(reply.headers)
            except HTTPError as error:
                said = error.read(2000).decode(errors="replace")
                date = _date(error.headers)
                if abs(date - now) < 60:
                    raise OSError(f"{service}: HTTP {error.code}: {said[:300]}") from None
                now = date
        raise OSError(f"{service}: refused for our clock, which is wrong")


def _open(request: Request) -> Any:
    return build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT)


def _date(headers: Any) -> float:
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp()
    except (TypeError, ValueError):
        return time.time()


def _credentials() -> tuple[str, str, str]:
    """Key id, secret and session token: from the environment, or of the machine's own role (IMDSv2)."""
    given = os.environ.get("AWS_ACCESS_KEY_ID")
    if given:
        return given, os.environ.get("AWS_SECRET_ACCESS_KEY", ""), os.environ.get("AWS_SESSION_TOKEN", "")
    token = _metadata_token()
    roles = "iam/security-credentials/"
    keys = json.loads(_metadata(roles + _metadata(roles, token).split()[0], token))
    return keys["AccessKeyId"], keys["SecretAccessKey"], keys["Token"]


def _metadata_token() -> str:
    life = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    with _open(Request(f"{_metadata_url()}/api/token", method="PUT", headers=life)) as reply:  # noqa: S310
        text: str = reply.read().decode()
        return text


def _metadata(path: str, token: str) -> str:
    headers = {"X-aws-ec2-metadata-token": token}
    with _open(Request(f"{_metadata_url()}/meta-data/{path}", headers=headers)) as reply:  # noqa: S310
        text: str = reply.read().decode()
        return text


def _metadata_url() -> str:
    return os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/") + "/latest"


def _worker(item: ElementTree.Element) -> Worker | None:
    """A machine of the cluster, unless it is a head."""
    tags = {_text(tag, "key"): _text(tag, "value") for tag in _all(item, "tagSet")}
    if "head" in (tags.get("fifty-role"), tags.get("ray-node-type")):
        return None
    launched = datetime.fromisoformat(_text(item, "launchTime")[:19] + "+00:00")
    state = item.findtext("instanceState/name", "")
    return Worker(_text(item, "instanceId"), state not in ENDED, tags.get("ray-node-status", ""), launched)


def _all(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [item for group in root.iter(name) for item in group.findall("item")]


def _text(element: ElementTree.Element, name: str) -> str:
    return element.findtext(name) or ""
