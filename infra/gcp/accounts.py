"""Who the machines are: two service accounts of a run's own, with the least they need.

The head may launch machines until the deadline, and end them; a worker may end itself. Both only where the name begins
as Ray names the machines of this cluster. Ray's own choice would be an account that may do anything in Compute Engine,
and to write every bucket; its launcher makes that account whether it is used or not, so it is made here before, and
disabled: what rights Ray then gives it nobody has.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from infra.cluster import Run
from infra.faults import NotThere
from infra.gcp import names
from infra.gcp.clients import Clients, Json
from infra.gcp.errors import Conflict, Unready, absent_is_fine
from infra.gcp.rights import LAUNCH, ROLES, USE, bindings, within
from infra.provider import Step

T = TypeVar("T")

# A new account is not known everywhere at once; a policy may be changed by others while we change it.
TRIES, PAUSE_SECONDS = 8, 0.5
POLICY_VERSION = 3  # the one that has conditions


def steps(clients: Clients, run: Run) -> Sequence[Step]:
    """The accounts and what they may do; the id of an account is its e-mail address."""
    head, worker = (names.email(names.account(run, part), clients.project) for part in "hw")
    return [
        Step("ray-account", lambda: _disarm_ray(clients)),
        Step("roles", lambda: " ".join(_ensure_role(clients, role) for role in ROLES)),
        Step("head-account", lambda: _ensure(clients, run, "h")),
        Step("worker-account", lambda: _ensure(clients, run, "w")),
        Step("rights", lambda: _grant(clients, run, head, worker)),
    ]


def _ensure(clients: Clients, run: Run, part: str) -> str:
    about = "launches and ends the workers" if part == "h" else "ends itself"
    return _create(clients, names.account(run, part), f"fifty {run.cluster}: {about}", names.described(run.tags()))


def _create(clients: Clients, id_: str, title: str, description: str) -> str:
    email = names.email(id_, clients.project)
    body = {"accountId": id_, "serviceAccount": {"displayName": title, "description": description}}
    of = clients.iam.projects().serviceAccounts()
    with suppress(Conflict):  # made by an earlier attempt
        clients.call(of.create(name=f"projects/{clients.project}", body=body), f"making service account {email}")
    return email


def _disarm_ray(clients: Clients) -> str:
    """Have the account that Ray's launcher insists on, and nobody able to be it; leave one that others use alone."""
    email = names.email(names.RAY_ACCOUNT, clients.project)
    why = "Wanted by Ray's launcher, used by nobody. Made by fifty, disabled, lest it be made with every right."
    name = f"projects/{clients.project}/serviceAccounts/{email}"
    of = clients.iam.projects().serviceAccounts()
    _create(clients, names.RAY_ACCOUNT, "disabled by fifty", why)
    there = again(lambda: clients.call(of.get(name=name), f"reading service account {email}"))
    if there.get("description") == why and not there.get("disabled"):
        again(lambda: clients.call(of.disable(name=name, body={}), f"disabling service account {email}"))
    return email


def _ensure_role(clients: Clients, role: str) -> str:
    """A role of the project's own; it costs nothing, gives nothing by itself, and stays."""
    of, path = clients.iam.projects().roles(), f"projects/{clients.project}/roles/{role}"
    wanted = {"title": f"fifty: {role}", "includedPermissions": sorted(ROLES[role]), "stage": "GA"}
    try:
        made = of.create(parent=f"projects/{clients.project}", body={"roleId": role, "role": wanted})
        clients.call(made, f"making role {role}")
    except Conflict:
        there = clients.call(of.get(name=path), f"reading role {role}")
        if there.get("deleted"):
            clients.call(of.undelete(name=path, body={}), f"restoring role {role}")
        if sorted(there.get("includedPermissions", [])) != wanted["includedPermissions"]:
            clients.call(of.patch(name=path, body=wanted), f"changing role {role}")
    return path


def _grant(clients: Clients, run: Run, head: str, worker: str) -> str:
    prefix = within(clients.project, run)
    until = f'request.time < timestamp("{run.deadline.isoformat().replace("+00:00", "Z")}")'
    wanted = bindings(clients.project, f"serviceAccount:{head}", f"serviceAccount:{worker}", prefix, until)
    of = clients.cloudresourcemanager.projects()
    ours = {f"serviceAccount:{email}" for email in (head, worker)}
    _change(clients, of, clients.project, lambda policy: [*_without(policy, ours), *wanted], LAUNCH)
    # Whoever launches a machine that is somebody must be allowed to.
    accounts = clients.iam.projects().serviceAccounts()
    use = [{"role": USE, "members": [f"serviceAccount:{head}"]}]
    _change(clients, accounts, f"projects/{clients.project}/serviceAccounts/{worker}", lambda _: use, USE)
    return prefix


def _without(policy: Json, members: set[str]) -> list[Json]:
    """The bindings of a policy less some members."""
    kept = [
        {**binding, "members": [member for member in binding["members"] if member not in members]}
        for binding in policy.get("bindings", [])
    ]
    return [binding for binding in kept if binding["members"]]


def _change(clients: Clients, of: Any, resource: str, change: Callable[[Json], list[Json]], what: str) -> None:
    """Read a policy, change its bindings and write it, unless somebody else was faster; then anew."""
    doing = f"changing who has {what}"
    asked = {"options": {"requestedPolicyVersion": POLICY_VERSION}}
    of_project = resource == clients.project

    def once() -> None:
        read = of.getIamPolicy(resource=resource, **({"body": asked} if of_project else {}))
        policy = clients.call(read, doing)
        bindings = change(policy)
        if bindings != policy.get("bindings", []):
            changed = {**policy, "version": POLICY_VERSION, "bindings": bindings}
            clients.call(of.setIamPolicy(resource=resource, body={"policy": changed}), doing)

    again(once)


def again(call: Callable[[], T]) -> T:
    """Call, and call again after a growing pause while Google does not know yet of what was just made."""
    for attempt in range(TRIES):
        try:
            return call()
        except (Conflict, Unready, NotThere):
            if attempt == TRIES - 1:
                raise
            time.sleep(PAUSE_SECONDS * 2 ** min(attempt, 4))
    raise AssertionError


def found(clients: Clients) -> list[tuple[str, dict[str, str]]]:
    """Every service account that bears tags of ours, and the tags."""
    of = clients.iam.projects().serviceAccounts()
    request = of.list(name=f"projects/{clients.project}", pageSize=100)
    accounts = [
        account
        for page in clients.pages(of, request, "listing service accounts")
        for account in page.get("accounts", [])
    ]
    return [(account["email"], names.tags_in(account.get("description"))) for account in accounts]


def remove(clients: Clients, email: str) -> None:
    """Take an account's rights away, and then the account: the other way round, its name would stay in the policy."""
    members = {f"serviceAccount:{email}"}
    of = clients.cloudresourcemanager.projects()
    _change(clients, of, clients.project, lambda policy: _without(policy, members), f"the rights of {email}")
    request = (
        clients.iam.projects().serviceAccounts().delete(name=f"projects/{clients.project}/serviceAccounts/{email}")
    )
    absent_is_fine(lambda: clients.call(request, f"removing service account {email}"))
