"""What dies, and that nothing outlives it: nobody calls `fifty` until every machine has ended by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from infra.node.rules import GRACE
from tests.cloud.cluster import Cluster

MakeCluster = Callable[..., Cluster]
LONG = 3600.0  # seconds of work that outlast any scenario
MONITOR = "pkill -KILL -f ray/autoscaler/.*/monitor.py"


@contextmanager
def at_work(made: Cluster) -> Iterator[str]:
    """Have a worker at work that would go on for an hour; its id."""
    made.fifty("up", "aws")
    job = made.job(LONG)
    try:
        yield made.wait_for_worker()
    finally:
        made.kill(job)


def end(made: Cluster) -> None:
    """Clear what is no machine, and see that nothing is left."""
    made.fifty("down")
    made.nothing_left()


def test_the_deadline_comes_while_a_task_runs(cluster: MakeCluster) -> None:
    """The nodes' own deadline ends them when the cloud's API is of no help any more."""
    main = cluster(hours=0.09)
    with at_work(main):
        main.aws.order("faults", [{"action": "GetParameter", "code": "InternalError", "times": 10**9}])
        deadline = int(next(tag["Value"] for tag in main.nodes("head")[0]["Tags"] if tag["Key"] == "fifty-deadline"))
        main.all_off(400)
        main.note("past the deadline, both machines", time.time() - deadline)
        assert time.time() >= deadline
        assert time.time() <= deadline + GRACE.total_seconds()
        main.aws.order("faults", [])
    end(main)


def test_the_head_vanishes(cluster: MakeCluster) -> None:
    main = cluster()
    with at_work(main):
        main.aws.client("ec2").terminate_instances(InstanceIds=[main.head()])
        main.all_off(180)
    end(main)


def test_the_monitor_is_killed(cluster: MakeCluster) -> None:
    main = cluster()
    with at_work(main):
        assert main.aws.on_machine(main.head(), MONITOR).returncode == 0
        main.all_off(180)
    end(main)


def test_the_driver_is_killed(cluster: MakeCluster) -> None:
    main = cluster()
    with at_work(main):
        killed = main.aws.on_machine(main.head(), "pkill -KILL -f 'venv/bin/python -$'")
        assert killed.returncode == 0
        main.all_off(240)
    end(main)


def test_a_worker_vanishes_without_closing_its_sockets(cluster: MakeCluster) -> None:
    """Another takes over within two minutes; the lost one ends itself though nobody can reach it."""
    main = cluster(workers=2)
    main.fifty("up", "aws")
    job = main.job(20)
    lost = main.wait_for_worker()
    main.aws.order("order", {"order": "cut", "machine": lost})
    cut = time.monotonic()
    output, _ = job.communicate(timeout=300)
    assert job.returncode == 0, output
    main.note("until another had done the work", time.monotonic() - cut)
    assert time.monotonic() - cut < 240
    replaced = {node["InstanceId"] for node in main.nodes("worker", alive=False)}
    assert len(replaced) >= 2
    main.all_off(240)
    end(main)


@pytest.mark.parametrize("api", [True, False], ids=["told by the cloud", "by itself"])
def test_a_machine_that_is_restarted_keeps_its_deadline(cluster: MakeCluster, api: bool) -> None:
    """No Ray, no watchdog's rule: UserData alone, whose timers survive a reboot."""
    from infra.userdata import NodeFacts, userdata

    main = cluster()
    ec2 = main.aws.client("ec2")
    deadline = datetime.fromtimestamp(int(time.time()) + (600 if api else 45)).astimezone()
    facts = NodeFacts("aws", "us-east-1", "fifty", "main", "run", "worker", deadline, 10.0)
    tags = [{"Key": "fifty-cluster", "Value": "main"}, {"Key": "fifty-project", "Value": "fifty"}]
    image, subnet = ec2.describe_images()["Images"][0]["ImageId"], ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    launched = ec2.run_instances(
        ImageId=image, SubnetId=subnet, InstanceType="m5.large", MinCount=1, MaxCount=1, UserData=userdata(facts),
        InstanceInitiatedShutdownBehavior="terminate",
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )  # fmt: skip
    name = launched["Instances"][0]["InstanceId"]
    # The last that UserData does is the watchdog; until then the shell alone decides, and asks nobody.
    armed = f"systemctl is-active fifty-{'watchdog' if api else 'deadman'}.timer"
    main.wait("it is armed", lambda: name in main.aws.machines() and not main.aws.on_machine(name, armed).returncode)
    main.aws.order("order", {"order": "reboot", "machine": name})
    if api:
        parameter = {"Name": "/fifty/fifty/main/deadline", "Type": "String", "Overwrite": True}
        main.aws.client("ssm").put_parameter(Value=str(int(time.time()) + 15), **parameter)
    main.all_off(120)
    assert api or time.time() >= deadline.timestamp()
    assert not ec2.describe_volumes()["Volumes"]
