"""The clients of Google Cloud's services, made once each; every other file of this package gets them from here.

They are built from the discovery documents that ship with google-api-python-client, so that building one asks nobody.
"""

import os
import warnings
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import Any

import google.auth
import httplib2  # type: ignore[import-untyped]
from google.auth.credentials import Credentials
from google_auth_httplib2 import AuthorizedHttp  # type: ignore[import-untyped]
from googleapiclient.discovery import build  # type: ignore[import-untyped]

from infra.faults import CloudFault, Refused
from infra.gcp.errors import asking, at_the_door, failed

Json = dict[str, Any]
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
VERSIONS = {"compute": "v1", "iam": "v1", "cloudresourcemanager": "v1", "storage": "v1", "cloudbilling": "v1"}
RETRIES = 4  # with pauses that double; for throttling, 5xx and lost connections
TIMEOUT_SECONDS = 150  # `wait` on an operation is answered after two minutes at most
AT_ONCE = 8


class Clients:
    """Clients by service.

    Args:
        project_id: as configured; empty for the credentials' own.
    """

    def __init__(self, project_id: str) -> None:
        self._configured = project_id
        self._https: list[AuthorizedHttp] = []
        # Close the connections; when nobody needs this object any more it happens by itself.
        self.close = weakref.finalize(self, _close, self._https)

    @cached_property
    def _default(self) -> tuple[Credentials, str | None]:
        with at_the_door(), asking("looking for Google credentials"), warnings.catch_warnings():
            # It warns a person's own credentials of quotas that are not used here.
            warnings.simplefilter("ignore")
            credentials, project = google.auth.default(scopes=SCOPES)
            return credentials, project

    @property
    def credentials(self) -> Credentials:
        """The application default credentials.

        Raises:
            Refused: there are none.
        """
        return self._default[0]

    @cached_property
    def project(self) -> str:
        """Google's project.

        Raises:
            Refused: none is configured, and the credentials have none of their own.
        """
        project = self._configured or self._default[1]
        if not project:
            raise Refused(
                "cloud.gcp.project_id: it is not known which of Google's projects to use; fill in its id, as "
                "`gcloud projects list` shows it"
            )
        return project

    def http(self) -> AuthorizedHttp:
        """A connection of one's own, for one thread; it trusts who the environment says is to be trusted."""
        trusted = os.environ.get("HTTPLIB2_CA_CERTS") or os.environ.get("REQUESTS_CA_BUNDLE") or None
        http = AuthorizedHttp(self.credentials, http=httplib2.Http(timeout=TIMEOUT_SECONDS, ca_certs=trusted))
        self._https.append(http)
        return http

    def __getattr__(self, service: str) -> Any:
        """The client of a service, as `clients.compute`."""
        if service not in VERSIONS:
            raise AttributeError(service)
        return _built(service)

    @cached_property
    def _own(self) -> AuthorizedHttp:
        return self.http()

    def call(self, request: Any, doing: str) -> Json:
        """Send a request and return the answer."""
        with asking(doing):
            answer: Json = request.execute(http=self._own, num_retries=RETRIES)
            return answer

    def pages(self, of: Any, request: Any, doing: str, following: str = "list_next") -> Iterator[Json]:
        """Send a request, and those that fetch the pages after the first."""
        while request is not None:
            answer = self.call(request, doing)
            yield answer
            request = getattr(of, following)(request, answer)

    def finish(self, request: Any, doing: str) -> None:
        """Send a request to Compute Engine, and wait until what it began has ended.

        Raises:
            CloudFault: it has ended in an error.
        """
        operation = self.call(request, doing)
        while operation["status"] != "DONE":
            operation = self.call(self._wait(operation), doing)
        fault = failed(operation, doing)
        if fault:
            raise fault

    def _wait(self, operation: Json) -> Any:
        name = {"project": self.project, "operation": operation["name"]}
        for place, operations in (("zone", "zoneOperations"), ("region", "regionOperations")):
            if place in operation:
                name[place] = operation[place].rsplit("/")[-1]
                return getattr(self.compute, operations)().wait(**name)
        return self.compute.globalOperations().wait(**name)

    def each(self, requests: Iterable[Any], doing: str) -> list[CloudFault]:
        """Send requests, several at a time, and return what went wrong with some."""

        def send(request: Any) -> CloudFault | None:
            try:
                with asking(doing):
                    request.execute(http=self.http(), num_retries=RETRIES)
            except CloudFault as fault:
                return fault
            return None

        with ThreadPoolExecutor(AT_ONCE) as threads:
            return [fault for fault in threads.map(send, requests) if fault]


@cache
def _built(service: str) -> Any:
    """Read the document, which takes a third of a second for the largest; whoever sends a request brings the way."""
    nowhere = httplib2.Http()
    return build(service, VERSIONS[service], http=nowhere, cache_discovery=False, static_discovery=True)


def _close(https: list[AuthorizedHttp]) -> None:
    for http in https:
        http.close()
