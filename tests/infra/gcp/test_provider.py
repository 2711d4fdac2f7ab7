"""Our provider against the double: what it asks Google for, what it finds, and what it says when things go wrong."""

from datetime import timedelta
from pathlib import Path

import pytest

from infra.cluster import Machine
from infra.faults import CloudFault, Fault, NoCapacity, NotThere, Refused, Throttled
from infra.gcp import Gcp
from infra.settings import GcpConfig
from tests.infra.gcp.conftest import SETTINGS
from tests.infra.gcp.double import PROJECT, Double
from tests.infra.gcp.made import L4, T4, ZONE, a_run


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


def test_google_cannot_be_reached(gcp: Gcp, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(CloudFault, match="Google cannot be reached; is this machine on-line"):
        gcp.whoami()


def test_prices_without_the_service_for_them(gcp: Gcp, double: Double) -> None:
    double.fail("cloudbilling.services.skus.list", 403, "SERVICE_DISABLED")
    with pytest.raises(Refused, match=r"gcloud services enable .*cloudbilling"):
        gcp.offers()


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


def test_the_deadline_cannot_be_moved(gcp: Gcp, double: Double) -> None:
    run = a_run()
    with pytest.raises(Refused, match="fixes when a machine ends at its launch"):
        gcp.set_deadline(run, run.deadline + timedelta(hours=1))
    assert double.calls == []
