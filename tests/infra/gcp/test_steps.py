"""What must be there before the first machine: networks and accounts, made once, no wider than needed, and removed."""

from dataclasses import replace

import pytest

from infra.faults import CloudFault
from infra.gcp import Gcp, rights
from infra.gcp.names import base
from tests.infra.gcp.conftest import SETTINGS
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import ZONE, a_run, make


def test_steps_open_ssh_to_one_address_and_nodes_to_each_other(gcp: Gcp, double: Double) -> None:
    run = a_run()
    make(gcp, run)
    rules = list(double.compute.of("firewalls").values())
    assert {(rule["direction"], *rule["targetTags"]) for rule in rules} == {("INGRESS", base(run))}
    inside, ssh = sorted(rules, key=lambda rule: rule["name"])
    assert (inside["sourceTags"], inside.get("sourceRanges")) == ([base(run)], None)
    assert (ssh["sourceRanges"], ssh["allowed"]) == (["203.0.113.7/32"], [{"IPProtocol": "tcp", "ports": ["22"]}])
    assert [network["autoCreateSubnetworks"] for network in double.compute.of("networks").values()] == [False]


def test_steps_give_no_more_than_is_needed(gcp: Gcp, double: Double) -> None:
    run = a_run()
    made = make(gcp, run)
    may = {role["role"].rsplit("/")[-1]: role for role in double.accounts.may(made["head-account"])}
    assert set(may) == {rights.LAUNCH, rights.END}
    until = run.deadline.isoformat().replace("+00:00", "Z")
    assert f'request.time < timestamp("{until}")' in may[rights.LAUNCH]["condition"]["expression"]
    assert f"zones/{ZONE}/instances/ray-main-" in may[rights.END]["condition"]["expression"]
    assert [role["role"].rsplit("/")[-1] for role in double.accounts.may(made["worker-account"])] == [rights.END]
    permissions = {p for role in double.accounts.roles.values() for p in role["includedPermissions"]}
    assert not [permission for permission in permissions if permission.split(".")[0] != "compute"]


def test_the_account_that_ray_wants_is_made_disabled(gcp: Gcp, double: Double) -> None:
    made = make(gcp, a_run())
    assert double.accounts.accounts[made["ray-account"]]["disabled"] is True


def test_an_account_of_rays_that_others_use_is_left_alone(gcp: Gcp, double: Double) -> None:
    body = {"accountId": "ray-autoscaler-sa-v1", "serviceAccount": {"displayName": "theirs"}}
    double.accounts.iam_projects_serviceAccounts_create({}, body)
    made = make(gcp, a_run())
    assert "disabled" not in double.accounts.accounts[made["ray-account"]]


def test_steps_may_be_taken_twice(gcp: Gcp, double: Double) -> None:
    run = a_run()
    first = make(gcp, run)
    before = double.left()
    assert make(Gcp(SETTINGS), run) == first
    assert double.left() == before


def test_steps_taken_again_open_ssh_to_the_new_address_alone(gcp: Gcp, double: Double) -> None:
    run = a_run()
    make(gcp, run)
    make(gcp, replace(run, ssh_from="198.51.100.9/32"))
    rule = double.compute.of("firewalls")["global", f"{base(run)}-ssh"]
    assert rule["sourceRanges"] == ["198.51.100.9/32"]


def test_a_policy_that_others_change_meanwhile_is_changed_anew(gcp: Gcp, double: Double) -> None:
    """The first attempt to write is refused for its age; what others have written is kept."""
    bound = {"role": "roles/viewer", "members": ["user:other@example.com"]}
    double.before["cloudresourcemanager.projects.setIamPolicy"] = lambda: double.accounts.policies[PROJECT][
        "bindings"
    ].append(bound)
    made = make(gcp, a_run())
    assert bound in double.accounts.policies[PROJECT]["bindings"]
    assert double.accounts.may(made["head-account"])


def test_an_account_that_is_not_known_everywhere_yet_is_waited_for(gcp: Gcp, double: Double) -> None:
    double.fail("cloudresourcemanager.projects.setIamPolicy", 400, "badRequest", "Service account does not exist.")
    made = make(gcp, a_run())
    assert double.accounts.may(made["worker-account"])


@pytest.mark.parametrize("acted", [False, True])
@pytest.mark.parametrize(
    "method",
    ["compute.networks.insert", "compute.subnetworks.insert", "compute.firewalls.insert", "iam.projects.roles.create"],
)
def test_a_step_that_fails_is_made_good_by_the_next_attempt(gcp: Gcp, double: Double, method: str, acted: bool) -> None:
    double.fail(method, 503, "backendError", acted=acted)
    with pytest.raises(CloudFault):
        make(gcp, a_run())
    make(gcp, a_run())


def test_remove_takes_all_away_in_the_order_of_the_inventory(gcp: Gcp, double: Double) -> None:
    make(gcp, a_run())
    things = gcp.inventory().leftovers
    assert {thing.kind for thing in things} == {"group", "account"}
    assert {(thing.cluster, thing.region) for thing in things} == {("main", ZONE)}
    assert all(thing.deadline for thing in things)
    for thing in things + things:  # safe twice
        gcp.remove(thing)
    ray = f"ray-autoscaler-sa-v1@{PROJECT}.iam.gserviceaccount.com"
    assert double.left() == [f"account/{ray}"]
    assert gcp.inventory().leftovers == ()
