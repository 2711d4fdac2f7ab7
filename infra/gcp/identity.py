"""Whose credentials these are, and whether the project will do."""

import getpass
import json

from infra import clocks
from infra.faults import NotThere, Refused
from infra.gcp.clients import Clients
from infra.gcp.errors import Denied, asking
from infra.gcp.names import label
from infra.provider import Identity

USERINFO = "https://openidconnect.googleapis.com/v1/userinfo"


def ask(clients: Clients) -> Identity:
    """See that the credentials are good for something and that the project is there and in use.

    Raises:
        Refused: it is not. Ray's launcher would otherwise try to create a project of that name.
    """
    name = clients.project
    dates: list[str | None] = []
    try:
        request = clients.cloudresourcemanager.projects().get(projectId=name)
        request.add_response_callback(lambda response: dates.append(response.get("date")))
        project = clients.call(request, f"looking up Google's project {name}")
    except NotThere:
        raise Refused(f"cloud.gcp.project_id: Google knows no project {name!r}") from None
    except Denied as denied:
        if "may not" not in str(denied):
            raise
        raise Refused(
            f"cloud.gcp.project_id: there is no project {name!r} that these credentials may see ({denied})"
        ) from None
    if project.get("lifecycleState") != "ACTIVE":
        raise Refused(f"cloud.gcp.project_id: the project {name!r} is about to be deleted; take another")
    return Identity(name, owner(clients), clocks.ahead(dates[-1]))


def owner(clients: Clients) -> str:
    """Who asks, as a label's value: the first part of an e-mail address, or who is logged in here."""
    email: str = getattr(clients.credentials, "service_account_email", "") or _email(clients)
    return label(email.split("@")[0]) or label(getpass.getuser())


def _email(clients: Clients) -> str:
    """A person's e-mail address; it is only to tell people apart, so that it may stay unknown."""
    try:
        with asking("asking Google who we are"):
            response, content = clients.http().request(USERINFO)
        return str(json.loads(content).get("email", "")) if response.status == 200 else ""
    except (Denied, ValueError, AttributeError):
        return ""
