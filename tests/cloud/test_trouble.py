"""The cloud's API is in trouble: no capacity, too many requests, new machines unknown, lost answers."""

from collections.abc import Callable
from typing import Any

from tests.cloud.cluster import Cluster

MakeCluster = Callable[..., Cluster]
SPOT = "InstanceMarketOptions.MarketType=spot"
ALWAYS = 10**9


def fault(action: str, code: str = "", times: int = 1, **more: Any) -> dict[str, Any]:
    """One kind of answer that is given in the cloud's place."""
    return {"action": action, "code": code, "times": times, **more}


def test_no_spot_machine_is_to_be_had(cluster: MakeCluster) -> None:
    """The job is done by a machine on demand."""
    main = cluster()
    main.fifty("up", "aws")
    main.aws.order("faults", [fault("RunInstances", "InsufficientInstanceCapacity", ALWAYS, holds=SPOT)])
    job = main.job()
    output, _ = job.communicate(timeout=300)
    assert job.returncode == 0, output
    (worker,) = main.nodes("worker")
    assert worker.get("InstanceLifecycle") != "spot"
    main.fifty("down")
    main.nothing_left()


def test_no_machine_at_all_is_to_be_had(cluster: MakeCluster) -> None:
    main = cluster()
    main.aws.order("faults", [fault("RunInstances", "InsufficientInstanceCapacity", ALWAYS, holds="UserData")])
    said = main.fifty("up", "aws", code=1)
    assert "capacity" in said.splitlines()[-1].lower()
    main.fifty("down")
    main.nothing_left()


def test_bad_weather(cluster: MakeCluster) -> None:
    """Requests are refused for being too many, and a new machine is unknown for some seconds."""
    main = cluster()
    main.aws.order("hide", {"seconds": 6})
    busy = (
        "DescribeInstances",
        "RunInstances",
        "CreateTags",
        "CreateSecurityGroup",
        "PutParameter",
        "TerminateInstances",
    )
    main.aws.order("faults", [fault(action, "RequestLimitExceeded", 2) for action in busy])
    main.fifty("up", "aws")
    job = main.job()
    output, _ = job.communicate(timeout=300)
    assert job.returncode == 0, output
    main.aws.order("faults", [fault(action, "RequestLimitExceeded", 2) for action in busy])
    main.fifty("down")
    main.nothing_left()


def test_the_answer_to_a_launch_is_lost(cluster: MakeCluster) -> None:
    """The machine is there, and nobody was told: it is found by its tags."""
    main = cluster()
    main.aws.order("faults", [fault("RunInstances", drop=True, holds="UserData")])
    process = main.start("up", "aws")
    said = process.communicate(timeout=400)[0]
    assert process.returncode in (0, 1), said
    assert len(main.nodes("head", alive=False)) >= 1
    main.fifty("down")
    main.nothing_left()
