"""The plan: which machines, until when, at what price; and every reason for which there is none."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from infra import plan, plan_page, prices
from infra.account import Ledger
from infra.budget import LEFT_OUT, worst_case
from infra.choice import choose_head, rank
from infra.cluster import Machine, Offer
from infra.events import MemoryStore
from infra.faults import Refused
from infra.ledger import reserve
from infra.plan import Plan
from infra.settings import AwsConfig, CloudConfig, GcpConfig
from tests.infra.money import RATES, START

AWS = prices.offers("aws", "us-east-1")
GCP = prices.offers("gcp", "us-central1-a")


def made(settings: CloudConfig | None = None, committed: float = 0.0, cloud: str = "aws", **more: Any) -> Plan:
    store = MemoryStore()
    if committed:
        reserve(store, 1e6, "before", committed, START + timedelta(hours=1), START)
    offered = more.pop("offered", AWS if cloud == "aws" else GCP)
    return plan.make(cloud, settings or CloudConfig(), offered, Ledger(store.read()), START, **more)


def names(offers: list[Offer], settings: CloudConfig, throughput: Mapping[str, float] | None = None) -> list[str]:
    return [one.offer.machine.name for one in rank("aws", offers, settings, throughput or {})]


def test_the_defaults_make_a_plan_on_both_clouds() -> None:
    aws, gcp = made(), made(cloud="gcp")
    assert (aws.shape.head.machine.name, aws.shape.worker.machine.name) == ("m6a.large", "g4dn.xlarge")
    assert gcp.shape.worker.machine.name == "n1-standard-4+nvidia-tesla-t4"
    for found in (aws, gcp):
        assert found.deadline == found.wanted == START + timedelta(hours=4)
        assert not found.shortened
        assert found.estimate.total < found.left == found.budget == 50.0
        assert found.today < found.estimate.total
        assert 0 < found.setup_dollars < found.estimate.total


def test_everything_asked_for_is_there() -> None:
    settings = CloudConfig(gpus=2, gpu_memory_gb=20, cores=40, memory_gb=100)
    for one in rank("aws", AWS[0], settings, {}):
        found = one.offer.machine
        assert found.gpus >= 2
        assert found.gpu_memory_gb >= 20
        assert found.cores >= 40
        assert found.memory_gb >= 100


def test_gpu_machines_are_ranked_by_the_price_of_a_gpu_hour() -> None:
    ranked = rank("aws", AWS[0], CloudConfig(), {})
    assert {one.basis for one in ranked} == {"GPU-hour"}
    assert [one.per for one in ranked] == sorted(one.per for one in ranked)
    assert ranked[0].per == pytest.approx((ranked[0].offer.spot or 0) / ranked[0].offer.machine.gpus)
    demand = rank("aws", AWS[0], CloudConfig(spot=False), {})
    assert demand[0].price == demand[0].offer.on_demand


def test_without_gpus_they_are_ranked_by_the_price_of_a_core_hour_and_none_has_a_gpu() -> None:
    ranked = rank("aws", AWS[0], CloudConfig(gpus=0), {})
    assert {one.basis for one in ranked} == {"core-hour"}
    assert not any(one.offer.machine.gpus for one in ranked)
    # Of machines whose cores cost the same the smallest comes first.
    found = [one.offer.machine.name for one in ranked]
    assert [name for name in found if name.startswith("m6a")] == ["m6a.xlarge", "m6a.2xlarge", "m6a.4xlarge"]


def test_what_was_measured_is_ranked_by_the_price_of_its_work() -> None:
    measured = {"g4dn.xlarge": 100.0, "g5.xlarge": 400.0, "g6.xlarge": 200.0}
    assert names(AWS[0], CloudConfig(), measured)[:3] == ["g5.xlarge", "g6.xlarge", "g4dn.xlarge"]
    assert made(CloudConfig(throughput=measured)).shape.worker.machine.name == "g5.xlarge"
    assert rank("aws", AWS[0], CloudConfig(), measured)[0].per == pytest.approx(0.4829 / 400, rel=1e-3)


@pytest.mark.parametrize("units", [0.0, -1.0, math.nan, math.inf])
def test_a_throughput_that_is_none_is_refused(units: float) -> None:
    with pytest.raises(ValidationError, match=r"throughput.`g5.xlarge`"):
        CloudConfig(throughput={"g5.xlarge": units})


def test_machines_that_are_named_are_taken() -> None:
    settings = CloudConfig(aws=AwsConfig(head="m5.xlarge", worker="g5.2xlarge"))
    found = made(settings)
    assert (found.shape.head.machine.name, found.shape.worker.machine.name) == ("m5.xlarge", "g5.2xlarge")
    other = CloudConfig(gcp=GcpConfig(head="n2-standard-2", worker="g2-standard-8"))
    assert made(other, cloud="gcp").shape.head.machine.name == "n2-standard-2"


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"worker": "g4dn.xlareg"}, "there is no machine 'g4dn.xlareg' in us-east-1; there are, for one, g4dn.xlarge"),
        ({"head": "m5.lrge"}, "there is no machine 'm5.lrge' in us-east-1"),
        ({"worker": "m5.xlarge"}, "'m5.xlarge' will not do as worker: it has no GPUs, and cloud.gpus is 1"),
        ({"head": "c6a.xlarge"}, None),
    ],
)
def test_a_named_machine_that_will_not_do_is_one_sentence(section: dict[str, str], sentence: str | None) -> None:
    settings = CloudConfig(aws=AwsConfig(**section))
    if sentence is None:
        assert made(settings).shape.head.machine.name == "c6a.xlarge"
        return
    with pytest.raises(Refused, match=re.escape(sentence)):
        made(settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (CloudConfig(gpu_memory_gb=60), "has GPUs of 16 GB, and cloud.gpu_memory_gb is 60"),
        (CloudConfig(cores=5), "has 4 cores, and cloud.cores is 5"),
        (CloudConfig(memory_gb=17), "has 16 GB of memory, and cloud.memory_gb is 17"),
        (CloudConfig(gpus=0), "has a GPU, and cloud.gpus is 0"),
    ],
)
def test_what_the_named_machine_lacks_is_named(settings: CloudConfig, sentence: str) -> None:
    named = settings.model_copy(update={"aws": AwsConfig(worker="g4dn.xlarge")})
    with pytest.raises(Refused, match=re.escape(sentence)):
        made(named)


def test_nothing_that_fits_is_one_sentence() -> None:
    with pytest.raises(Refused, match=r"no machine there has 16 x GPU of 8 GB, 4 cores and 15 GB of memory; ask for"):
        made(CloudConfig(gpus=16))
    with pytest.raises(Refused, match="no machine there has 500 cores"):
        made(CloudConfig(gpus=0, cores=500))


def test_processors_lent_by_credits_are_never_chosen() -> None:
    lent = Offer(Machine("t3.2xlarge", 8, 32), "us-east-1", 0.0001, 0.0001)
    settings = CloudConfig(gpus=0)
    assert "t3.2xlarge" not in names([lent, *AWS[0]], settings)
    assert choose_head("aws", [lent, *AWS[0]], settings).machine.name == "m6a.large"
    named = CloudConfig(gpus=0, aws=AwsConfig(head="t3.2xlarge"))
    with pytest.raises(Refused, match=r"'t3.2xlarge' will not do as head"):
        choose_head("aws", [lent, *AWS[0]], named)
    with pytest.raises(Refused, match="may cost more than its price"):
        rank("aws", [lent, *AWS[0]], CloudConfig(gpus=0, aws=AwsConfig(worker="t3.2xlarge")), {})


@pytest.mark.parametrize("price", [0.0, math.nan, -1.0])
def test_an_offer_without_a_price_is_no_gift(price: float) -> None:
    gift = Offer(Machine("free.xlarge", 8, 32, "T4", 1, 16), "us-east-1", price, price)
    assert made(offered=([gift, *AWS[0]], AWS[1], "")).shape.worker.machine.name == "g4dn.xlarge"


def test_a_head_needs_room_for_what_it_runs() -> None:
    small = [offer for offer in AWS[0] if offer.machine.memory_gb < 7]
    with pytest.raises(Refused, match="no machine there will do as head"):
        choose_head("aws", small, CloudConfig())


def test_the_deadline_is_what_the_budget_allows() -> None:
    found = made(CloudConfig(workers=40, hours=12))
    assert found.shortened
    assert found.deadline < found.wanted == START + timedelta(hours=12)
    assert 49.99 < found.estimate.total <= 50.0
    assert timedelta(hours=found.hours) <= found.deadline - START < timedelta(hours=found.hours + 0.01)


@examples(deadline=None)
@given(st.floats(0.5, 200), st.floats(0, 150), st.integers(1, 50), st.floats(0.3, 168), st.floats(5, 60))
def test_what_is_planned_can_be_reserved(
    budget: float, committed: float, workers: int, hours: float, margin: float
) -> None:
    settings = CloudConfig(budget_usd=budget, workers=workers, hours=hours, margin_minutes=margin)
    try:
        found = made(settings, committed)
    except Refused as refused:
        sentence = str(refused)
    else:
        sentence = ""
    if sentence:
        assert "\n" not in sentence
        assert "budget" in sentence
        return
    store = MemoryStore()
    if committed:
        reserve(store, 1e6, "before", committed, START + timedelta(hours=1), START)
    assert found.estimate == worst_case(found.shape, found.rates, START, found.deadline, found.margin)
    reserve(store, budget, "new", found.estimate.total, found.deadline, START)
    assert Ledger(store.read()).committed() <= budget
    assert found.deadline - found.start > found.setup


@pytest.mark.parametrize("budget", [0.0, -1.0, math.nan])
def test_a_budget_that_is_none_is_refused(budget: float) -> None:
    with pytest.raises(Refused, match="budget_usd must be a number above 0, not"):
        made(CloudConfig.model_construct(**{**dict(CloudConfig()), "budget_usd": budget}))


def test_a_budget_that_is_spent_is_refused() -> None:
    with pytest.raises(
        Refused, match=re.escape("the budget of $50.00 (cloud.budget_usd) is spent or reserved: $50.00")
    ):
        made(committed=50.0)


def test_a_budget_too_small_for_the_set_up_is_one_sentence() -> None:
    sentence = r"the budget has \$0.30 left, which at worst lasts \d minutes, and to set machines up takes 10;"
    with pytest.raises(Refused, match=sentence):
        made(CloudConfig(budget_usd=0.30))
    with pytest.raises(Refused, match="the teardown margin of 10 minutes alone may cost"):
        made(CloudConfig(budget_usd=0.10))


def test_hours_too_few_for_the_set_up_are_refused() -> None:
    with pytest.raises(Refused, match=r"0\.1 hours are over before machines are set up, which takes about 10 minutes"):
        made(CloudConfig(hours=0.1))
    quick = made(CloudConfig(hours=0.1, setup_minutes=1.0))
    assert quick.setup_dollars < made().setup_dollars


def test_the_page_tells_all_that_is_asked_of_it() -> None:
    found = made(committed=7.0)
    page = "\n".join(plan_page.lines(found))
    items = [item.name for item in found.estimate.items]
    wanted = [
        *items,
        *LEFT_OUT,
        "g4dn.xlarge",
        "0.526",
        "0.221",
        "m6a.large",
        "2 workers at most",
        "2026-11-26 21:00 UTC",
    ]
    wanted += ["10 minutes", f"${found.estimate.total:.2f}", "$7.00", "$43.00", "$ per GPU-hour", "as remembered on"]
    for text in wanted:
        assert text in page
    assert "cloud.hours" not in page


def test_the_page_says_when_the_budget_does_not_allow_the_hours() -> None:
    found = made(CloudConfig(workers=40, hours=12))
    assert f"the budget does not allow more: take `cloud.hours: {found.hours:g}`" in "\n".join(plan_page.lines(found))


def test_the_page_tells_measured_machines_from_others() -> None:
    page = plan_page.machines(made(CloudConfig(throughput={"g5.xlarge": 1000.0})), most=2)
    assert page[0].endswith("$ per")
    assert page[1].endswith("unit")
    assert page[2].endswith("GPU-hour")
    assert re.fullmatch(r"and \d+ dearer ones", page[3])


def test_an_offer_without_a_spot_price_shows_none() -> None:
    only = [replace(offer, spot=None) for offer in AWS[0]]
    found = made(offered=(only, RATES, "live"))
    assert found.ranking[0].price == found.ranking[0].offer.on_demand
    assert "  -  " in plan_page.machines(found)[1]
