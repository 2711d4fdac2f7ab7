"""What the double has beside Compute Engine: service accounts, roles, the project's policy, a bucket, a price list."""

import base64
import hashlib
import json
import re
from copy import deepcopy
from urllib.parse import unquote

from tests.infra.gcp.catalog import PRICES
from tests.infra.gcp.filter import Json
from tests.infra.gcp.things import ApiError


class Accounts:
    """IAM and the project's policy. Methods are named after those of the interface."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.accounts: dict[str, Json] = {}
        self.roles: dict[str, Json] = {}
        owner = {"role": "roles/owner", "members": ["user:owner@example.com"]}
        self.policies: dict[str, Json] = {project: {"version": 1, "bindings": [owner]}}

    def iam_projects_serviceAccounts_create(self, _params: Json, body: Json) -> Json:  # noqa: N802
        email = f"{body['accountId']}@{self.project}.iam.gserviceaccount.com"
        if email in self.accounts:
            raise ApiError(409, "alreadyExists", f"Service account {body['accountId']} already exists")
        if not 6 <= len(body["accountId"]) <= 30:
            raise ApiError(400, "invalid", "Service account ID must be between 6 and 30 characters")
        given = body.get("serviceAccount", {})
        name = f"projects/{self.project}/serviceAccounts/{email}"
        self.accounts[email] = {**given, "email": email, "name": name, "projectId": self.project, "uniqueId": "1"}
        return deepcopy(self.accounts[email])

    def account(self, params: Json) -> str:
        email = unquote(params["serviceAccountsId"])
        if email not in self.accounts:
            raise ApiError(404, "notFound", f"Unknown service account {email}")
        return email

    def iam_projects_serviceAccounts_get(self, params: Json, _body: None) -> Json:  # noqa: N802
        return deepcopy(self.accounts[self.account(params)])

    def iam_projects_serviceAccounts_list(self, _params: Json, _body: None) -> Json:  # noqa: N802
        return {"accounts": deepcopy(list(self.accounts.values()))}

    def iam_projects_serviceAccounts_delete(self, params: Json, _body: None) -> Json:  # noqa: N802
        del self.accounts[self.account(params)]
        return {}

    def iam_projects_serviceAccounts_disable(self, params: Json, _body: Json | None) -> Json:  # noqa: N802
        self.accounts[self.account(params)]["disabled"] = True
        return {}

    def iam_projects_serviceAccounts_getIamPolicy(self, params: Json, _body: None) -> Json:  # noqa: N802
        return self.policy(self.account(params))

    def iam_projects_serviceAccounts_setIamPolicy(self, params: Json, body: Json) -> Json:  # noqa: N802
        return self.set_policy(self.account(params), body["policy"])

    def cloudresourcemanager_projects_get(self, params: Json, _body: None) -> Json:
        if params["projectId"] != self.project:
            raise ApiError(403, "forbidden", "The caller does not have permission")
        return {"projectId": self.project, "name": self.project, "lifecycleState": "ACTIVE"}

    def cloudresourcemanager_projects_create(self, _params: Json, body: Json) -> Json:
        if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", body["projectId"]):
            raise ApiError(400, "badRequest", f"The project id {body['projectId']} is not valid")
        raise ApiError(403, "forbidden", "Nobody makes projects here")

    def cloudresourcemanager_projects_getIamPolicy(self, params: Json, _body: Json | None) -> Json:  # noqa: N802
        return self.policy(params["resource"])

    def cloudresourcemanager_projects_setIamPolicy(self, params: Json, body: Json) -> Json:  # noqa: N802
        return self.set_policy(params["resource"], body["policy"])

    def policy(self, of: str) -> Json:
        policy = deepcopy(self.policies.get(of, {"version": 1, "bindings": []}))
        return {**policy, "etag": etag(policy)}

    def set_policy(self, of: str, policy: Json) -> Json:
        """Refuse what has been changed since it was read, conditions without version 3, and accounts that are not."""
        if policy.get("etag", etag(self.policies.get(of, {"version": 1, "bindings": []}))) != self.policy(of)["etag"]:
            raise ApiError(409, "aborted", "There were concurrent policy changes")
        for binding in policy.get("bindings", []):
            if "condition" in binding and policy.get("version") != 3:
                raise ApiError(400, "badRequest", "A policy with conditions must be of version 3")
            for member in binding["members"]:
                if member.startswith("serviceAccount:") and member.split(":", 1)[1] not in self.accounts:
                    raise ApiError(400, "badRequest", f"Service account {member} does not exist.")
        kept = {key: value for key, value in policy.items() if key != "etag"}
        self.policies[of] = deepcopy({"bindings": [], **kept})
        return self.policy(of)

    def may(self, email: str) -> list[Json]:
        """The bindings of a service account in the project."""
        bindings: list[Json] = self.policies[self.project]["bindings"]
        return [binding for binding in bindings if f"serviceAccount:{email}" in binding["members"]]

    def iam_projects_roles_get(self, params: Json, _body: None) -> Json:
        if params["rolesId"] not in self.roles:
            raise ApiError(404, "notFound", "The role was not found")
        return deepcopy(self.roles[params["rolesId"]])

    def iam_projects_roles_create(self, _params: Json, body: Json) -> Json:
        if body["roleId"] in self.roles:
            raise ApiError(409, "alreadyExists", "A role of that name exists")
        self.roles[body["roleId"]] = {**body["role"], "name": f"projects/{self.project}/roles/{body['roleId']}"}
        return deepcopy(self.roles[body["roleId"]])

    def iam_projects_roles_patch(self, params: Json, body: Json) -> Json:
        self.iam_projects_roles_get(params, None)
        self.roles[params["rolesId"]].update(body)
        return deepcopy(self.roles[params["rolesId"]])

    def iam_projects_roles_undelete(self, params: Json, _body: Json | None) -> Json:
        self.roles[params["rolesId"]].pop("deleted", None)
        return deepcopy(self.roles[params["rolesId"]])


class Storage:
    """Cloud Storage, and the catalog of prices."""

    def __init__(self, page: int = 1000) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.settings: dict[str, Json] = {}
        self.page = page

    def storage_buckets_get(self, params: Json, _body: None) -> Json:
        if params["bucket"] not in self.buckets:
            raise ApiError(404, "notFound", "The specified bucket does not exist.")
        return {"name": params["bucket"], **self.settings[params["bucket"]]}

    def storage_buckets_insert(self, _params: Json, body: Json) -> Json:
        if body["name"] in self.buckets:
            raise ApiError(409, "conflict", "You already own this bucket.")
        self.buckets[body["name"]], self.settings[body["name"]] = {}, body
        return body

    def bucket(self, params: Json) -> dict[str, bytes]:
        self.storage_buckets_get(params, None)
        return self.buckets[params["bucket"]]

    def storage_objects_list(self, params: Json, _body: None) -> Json:
        names = sorted(name for name in self.bucket(params) if name.startswith(params.get("prefix", "")))
        first = int(params.get("pageToken", "0"))
        more = {"nextPageToken": str(first + self.page)} if len(names) > first + self.page else {}
        return {"items": [{"name": name} for name in names[first : first + self.page]], **more}

    def storage_objects_get(self, params: Json, _body: None) -> Json | bytes:
        name = unquote(params["object"])
        if name not in self.bucket(params):
            raise ApiError(404, "notFound", f"No such object: {name}")
        return self.bucket(params)[name] if params.get("alt") == "media" else {"name": name}

    def storage_objects_insert(self, params: Json, body: bytes) -> Json:
        if params.get("ifGenerationMatch") == "0" and params["name"] in self.bucket(params):
            raise ApiError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        self.bucket(params)[params["name"]] = body
        return {"name": params["name"], "bucket": params["bucket"], "md5Hash": md5(body)}

    def cloudbilling_services_skus_list(self, params: Json, _body: None) -> Json:
        first = int(params.get("pageToken") or 0)
        more = str(first + self.page) if len(PRICES) > first + self.page else ""
        return {"skus": [sku(*row) for row in PRICES[first : first + self.page]], "nextPageToken": more}


def sku(description: str, usage: str, dollars: float) -> Json:
    """One article of the catalog."""
    region = "europe-west3" if "Frankfurt" in description else "us-central1"
    money = {"currencyCode": "USD", "units": str(int(dollars)), "nanos": round(dollars % 1 * 1e9)}
    unit = "GiBy.mo" if "Capacity" in description or "Storage" in description else "h"
    expression = {"usageUnit": unit, "tieredRates": [{"startUsageAmount": 0, "unitPrice": money}]}
    family = "Storage" if "mo" in unit else "Network" if "IP" in description else "Compute"
    return {
        "name": f"services/x/skus/{md5(description.encode())}",
        "description": description,
        "category": {"resourceFamily": family, "usageType": usage},
        "serviceRegions": [region],
        "pricingInfo": [{"pricingExpression": expression}],
    }


def etag(policy: Json) -> str:
    return md5(json.dumps(policy, sort_keys=True).encode())


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
