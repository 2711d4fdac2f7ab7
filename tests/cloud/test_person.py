"""What else a person does: asks for more time, sweeps from another machine, or launches by hand without `fifty`."""

import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from infra.node.rules import GRACE
from tests.cloud.cluster import HERE, Cluster, read_until, replace_in

MakeCluster = Callable[..., Cluster]
LONG = 3600.0
# Of a cluster that was launched by hand, from its head's launch.
LIFE = 330


def tags(node: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in node["Tags"]}


def test_more_time_and_then_a_head_that_hangs(cluster: MakeCluster) -> None:
    """`fifty extend` moves parameter, tags and schedule; the schedule ends a head whose own switch does not work."""
    main = cluster(hours=0.08, budget_usd=1.0)
    main.change(aws={"schedule": True})
    main.fifty("up", "aws")
    first = int(tags(main.nodes("head")[0])["fifty-deadline"])
    assert "budget" in main.fifty("extend", "160", code=2).splitlines()[-1]
    said = main.fifty("extend", "0.02")
    assert "is off on" in said
    later = int(tags(main.nodes("head")[0])["fifty-deadline"])
    assert later == first + 72
    (parameter,) = main.aws.client("ssm").get_parameters_by_path(Path="/fifty/", Recursive=True)["Parameters"]
    assert int(parameter["Value"]) == later
    scheduler = main.aws.client("scheduler")
    (listed,) = [one for one in scheduler.list_schedules()["Schedules"] if one["Name"] == main.head()]
    scheduled = scheduler.get_schedule(GroupName=listed["GroupName"], Name=listed["Name"])
    assert scheduled["ScheduleExpression"] == f"at({datetime.fromtimestamp(later, UTC):%Y-%m-%dT%H:%M:%S})"
    events = {event["run"]: event for event in main.ledger() if event["kind"] == "reserved"}
    assert len(events) == 1
    main.aws.order("order", {"order": "freeze", "machine": main.head()})
    main.all_off(later - time.time() + GRACE.total_seconds())
    main.note("past the deadline, by EventBridge alone", time.time() - later)
    assert time.time() >= later
    main.fifty("down")
    main.nothing_left()


def test_somebody_sweeps_from_another_machine(cluster: MakeCluster) -> None:
    """The laptop is gone with all its files: tags alone tell `fifty reap` what to end, and the books are closed."""
    main = cluster()
    main.fifty("up", "aws")
    job = main.job(LONG)
    main.wait_for_worker()
    main.kill(job)
    shutil.rmtree(main.outside / ".fifty")
    assert "nothing past its deadline" in main.fifty("reap", "aws")
    assert len(main.nodes()) == 2
    said = main.fifty("reap", "aws", "--all", "--all-regions")
    assert "ending 2 machines" in said
    main.nothing_left()


def by_hand(main: Cluster) -> "subprocess.Popen[str]":
    """Fill in infra/aws.yaml as it asks for, with a shorter life, and call `ray up`."""
    path = main.outside / "infra/aws.yaml"
    replace_in(path, "ssh_from=\n", f"ssh_from={HERE.partition('/')[0]}\n")
    replace_in(path, "14400", str(LIFE))
    replace_in(path, '"pace": 1.0', '"pace": 0.2')
    command = ["ray", "up", "--yes", "--no-config-cache", "infra/aws.yaml"]
    return main.aws.popen(command, main.folder, {}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_ray_up_by_hand(cluster: MakeCluster) -> None:
    """Head and worker are off together, counted from the head's launch; `fifty status` warns of them."""
    main = cluster("hand")
    process = by_hand(main)
    said = process.communicate(timeout=400)[0]
    assert process.returncode == 0, said
    launched = int(main.aws.on_machine(main.head(), "cat /var/lib/fifty/booted").stdout)
    ssh = ["ray", "exec", "--no-config-cache", "infra/aws.yaml"]
    job = "cd fifty && .venv/bin/python -c '" + JOB + "'"
    working = main.aws.popen([*ssh, job], main.folder, {}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        read_until(working, "^asked")
        worker = main.wait_for_worker()
        assert int(main.aws.on_machine(worker, "cat /var/lib/fifty/marks/launched").stdout) == launched
        told = main.fifty("status", "aws")
        assert f"{worker}" in told
        assert "ledger" in told
        main.all_off(launched + LIFE + GRACE.total_seconds() - time.time())
        main.note("past its life, launched by hand", time.time() - launched - LIFE)
        assert time.time() >= launched + LIFE
    finally:
        main.kill(working)
    assert not main.aws.client("ec2").describe_volumes()["Volumes"]
    assert "nothing of ours is left" in main.fifty("reap", "aws", "--all")


JOB = """
import ray, time
ray.init(address="auto", log_to_driver=False)
print("asked", flush=True)
ray.get(ray.remote(num_gpus=1, max_retries=-1)(lambda: time.sleep(3600)).remote())
"""
