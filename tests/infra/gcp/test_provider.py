"""Our provider against the double: what it asks Google for, what it finds, and what it says when things go wrong."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from infra.cluster import Machine
from infra.events import Event, Taken
from infra.faults import CloudFault, Fault, NoCapacity, NotThere, Refused, Throttled
from infra.gcp import Gcp, rights
from infra.gcp.names import base
from infra.settings import CloudConfig, GcpConfig
from tests.infra.gcp.conftest import SETTINGS
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import L4, T4, ZONE, a_run, make


def test_whoami_is_the_project_and_the_person(gcp: Gcp) -> None:
    me = gcp.whoami()
    assert (me.account, me.owner) == (PROJECT, "some-body")


def test_without_credentials_it_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch, double: Double) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    with pytest.raises(Refused, match="gcloud auth application-default login"):
        Gcp(SETTINGS).whoami()
    assert double.calls == []


def test_expired_credentials(gcp: Gcp, double: Double) -> None:
    double.revoked = True
    with pytest.raises(Refused, match="expired or been revoked: run `gcloud auth"):
        gcp.whoami()


def test_a_key_file_that_is_none(monkeypatch: pytest.MonkeyPatch, double: Double, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(Refused, match="there are no Google credentials"):
        Gcp(SETTINGS).whoami()


def test_a_project_that_one_may_not_see(double: Double) -> None:
    other = SETTINGS.model_copy(update={"gcp": GcpConfig(project_id="somebody-elses")})
    with pytest.raises(Refused, match=r"cloud.gcp.project_id: there is no project 'somebody-elses'"):
        Gcp(other).whoami()


def test_no_project_at_all(monkeypatch: pytest.MonkeyPatch, double: Double) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT")
    with pytest.raises(Refused, match="which of Google's projects"):
        Gcp(SETTINGS).whoami()


def test_a_service_that_is_not_switched_on(gcp: Gcp, double: Double) -> None:
    double.fail("compute.zones.get", 403, "accessNotConfigured", "Compute Engine API has not been used")
    with pytest.raises(Refused, match=r"gcloud services enable compute\.googleapis\.com"):
        gcp.check(a_run())


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (404, "notFound", NotThere),
        (429, "rateLimitExceeded", Throttled),
        (403, "rateLimitExceeded", Throttled),
        (503, "ZONE_RESOURCE_POOL_EXHAUSTED", NoCapacity),
        (500, "backendError", CloudFault),
    ],
)
def test_faults_have_kinds(gcp: Gcp, double: Double, status: int, reason: str, kind: type[Fault]) -> None:
    double.fail("compute.instances.aggregatedList", status, reason)
    with pytest.raises(kind) as caught:
        gcp.inventory()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_offers_add_up_the_parts_of_a_machine(gcp: Gcp) -> None:
    offers, rates, source = gcp.offers()
    by_name = {offer.machine.name: offer for offer in offers}
    assert by_name["e2-standard-2"].on_demand == pytest.approx(2 * 0.02181159 + 8 * 0.00292353)
    t4 = by_name["n1-standard-4+nvidia-tesla-t4"]
    assert t4.machine == T4.machine
    assert t4.on_demand == pytest.approx(4 * 0.031611 + 15 * 0.004237 + 0.35)
    assert t4.spot == pytest.approx(4 * 0.00698 + 15 * 0.00094 + 0.11)
    assert by_name["g2-standard-4"].machine == L4.machine
    assert by_name["g2-standard-4"].on_demand == pytest.approx(4 * 0.02499 + 16 * 0.00293 + 0.56004)
    assert (rates.disk_gb_month, rates.address_hour, rates.storage_gb_month) == (0.1, 0.005, 0.02)
    assert "us-central1" in source
    assert {offer.region for offer in offers} == {ZONE}


def test_a_region_without_prices_is_a_fault(double: Double) -> None:
    elsewhere = SETTINGS.model_copy(update={"gcp": GcpConfig(zone="europe-west4-a")})
    with pytest.raises(CloudFault, match="no article like"):
        Gcp(elsewhere).offers()


def test_machines_are_looked_up(gcp: Gcp) -> None:
    assert gcp.machine("n1-standard-4+nvidia-tesla-t4") == T4.machine
    assert gcp.machine("g2-standard-4") == L4.machine
    assert gcp.machine("e2-standard-4") == Machine("e2-standard-4", 4, 16.0)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("n1-standard-3", "n1-standard-4"),
        ("n1-standard-4+nvidia-tesla-t5", "nvidia-tesla-t4"),
        ("p3.2xlarge", "there are"),
    ],
)
def test_an_unknown_machine_is_refused_and_near_ones_are_named(gcp: Gcp, name: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        gcp.machine(name)


def test_a_zone_without_the_gpu_is_refused(double: Double) -> None:
    with pytest.raises(Refused, match="no GPU 'nvidia-tesla-t4' in europe-west4-a; there are none"):
        Gcp(SETTINGS).check(a_run(region="europe-west4-a"))


def test_an_unknown_zone_is_refused(gcp: Gcp) -> None:
    with pytest.raises(Refused, match=r"no zone 'us-central1-z'; there are, for one, us-central1-b"):
        gcp.check(a_run(region="us-central1-z"))


def test_an_account_with_enough_of_everything_passes(gcp: Gcp) -> None:
    gcp.check(a_run())


@pytest.mark.parametrize("quota", ["GPUS_ALL_REGIONS", "CPUS", "IN_USE_ADDRESSES", "SSD_TOTAL_GB", "CPUS_ALL_REGIONS"])
def test_a_quota_of_zero_is_refused_with_how_to_ask_for_more(gcp: Gcp, double: Double, quota: str) -> None:
    double.compute.quotas[quota] = 0.0
    with pytest.raises(Refused, match=rf"{quota}.* is 0 .*https://console.cloud.google.com/iam-admin/quotas\?project="):
        gcp.check(a_run())


def test_gpus_may_come_from_either_of_two_quotas(gcp: Gcp, double: Double) -> None:
    double.compute.quotas["NVIDIA_T4_GPUS"] = 0.0
    gcp.check(a_run(spot=False))
    double.compute.quotas["PREEMPTIBLE_NVIDIA_T4_GPUS"] = 1.0
    with pytest.raises(Refused, match=r"NVIDIA_T4_GPUS in us-central1 is 1 .* may want 2; .*leaving the free trial"):
        gcp.check(a_run())


def test_a_label_that_google_refuses(gcp: Gcp) -> None:
    with pytest.raises(Refused, match="owner: `Some Body` will not do"):
        gcp.check(a_run(owner="Some Body"))


def test_images_are_pinned_by_family(gcp: Gcp) -> None:
    assert gcp.image(T4.machine).startswith(
        "projects/ubuntu-os-accelerator-images/global/images/ubuntu-accelerator-2204"
    )
    assert gcp.image(Machine("e2-standard-2", 2, 8.0)).startswith("projects/ubuntu-os-cloud/global/images/")


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


def test_the_deadline_cannot_be_moved(gcp: Gcp, double: Double) -> None:
    run = a_run()
    with pytest.raises(Refused, match="fixes when a machine ends at its launch"):
        gcp.set_deadline(run, run.deadline + timedelta(hours=1))
    assert double.calls == []


def an_event(number: int) -> Event:
    return Event(number, a_run().start, "reserved", "run", dollars=1.5, deadline=a_run().deadline)


def test_the_ledger_is_one_object_per_event(gcp: Gcp, double: Double) -> None:
    store = gcp.store()
    assert store.read() == []
    events = [an_event(number) for number in (1, 2, 3)]
    for event in events:
        store.append(event)
    assert Gcp(SETTINGS).store().read() == events
    bucket = f"fifty-fifty-{PROJECT}"
    assert sorted(double.storage.buckets[bucket]) == [f"ledger/0000000{number}.json" for number in (1, 2, 3)]
    closed = double.storage.settings[bucket]["iamConfiguration"]
    assert closed["publicAccessPrevention"] == "enforced"


def test_who_comes_second_is_told_so(gcp: Gcp, double: Double) -> None:
    """Both have read the same; the second one's object is refused by Google, not by us."""
    first, second = gcp.store(), Gcp(SETTINGS).store()
    first.append(an_event(1))
    second.read()
    double.before["storage.objects.insert"] = lambda: first.append(an_event(2))
    with pytest.raises(Taken):
        second.append(replace(an_event(2), dollars=2.0))
    assert [event.dollars for event in second.read()] == [1.5, 1.5]
    with pytest.raises(Taken):
        second.append(an_event(2))


def test_an_answer_that_is_lost_is_no_lost_event(monkeypatch: pytest.MonkeyPatch, gcp: Gcp, double: Double) -> None:
    monkeypatch.setattr("infra.gcp.clients.RETRIES", 1)
    monkeypatch.setattr("time.sleep", lambda _: None)
    store = gcp.store()
    double.fail("storage.objects.insert", 503, "backendError", acted=True)
    store.append(an_event(1))
    assert len(store.read()) == 1


def test_a_long_ledger_is_read_whole(gcp: Gcp, double: Double) -> None:
    double.storage.page = 2
    store = gcp.store()
    for number in range(1, 6):
        store.append(an_event(number))
    assert [event.number for event in Gcp(SETTINGS).store().read()] == [1, 2, 3, 4, 5]


def test_a_bucket_of_somebody_else_is_refused(gcp: Gcp, double: Double) -> None:
    double.fail("storage.objects.list", 403, "forbidden")
    with pytest.raises(Refused, match=r"cloud\.gcp\.bucket"):
        gcp.store().read()
    with pytest.raises(Refused, match="Google takes no bucket `My Bucket`"):
        Gcp(CloudConfig(gcp=GcpConfig(bucket="My Bucket"))).store()
