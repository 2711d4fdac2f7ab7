"""The normal loop: up, work on a worker that comes when it is needed, idle, off, down."""

from collections.abc import Callable

from tests.cloud.cluster import HERE, Cluster

MakeCluster = Callable[..., Cluster]


def test_a_job_brings_a_worker_and_all_of_it_ends_by_itself(cluster: MakeCluster) -> None:
    main = cluster()
    said = main.fifty("up", "aws")
    assert "cluster main is up" in said
    assert "ssh -i" in said
    job = main.job()
    output, _ = job.communicate(timeout=240)
    assert job.returncode == 0, output
    assert "ran on ip-172-31-" in output
    (worker,) = main.nodes("worker")
    assert worker["MetadataOptions"]["HttpTokens"] == "required"
    told = main.fifty("status")
    assert worker["InstanceId"] in told
    assert main.head() in told
    ports = _open_to(main)
    assert ports == {(22, HERE)}
    main.all_off(240)
    main.fifty("down")
    main.nothing_left()
    assert "nothing of cluster main is left" in main.fifty("down")  # safe twice
    assert main.runs() == {event["run"] for event in main.ledger() if event["kind"] == "settled"}


def _open_to(main: Cluster) -> set[tuple[int, str]]:
    """Ports that anybody but the machines themselves may reach, and from where."""
    tagged = [{"Name": "tag:fifty-cluster", "Values": [main.name]}]
    groups = main.aws.client("ec2").describe_security_groups(Filters=tagged)["SecurityGroups"]
    rules = [rule for group in groups for rule in group["IpPermissions"]]
    return {(rule["FromPort"], one["CidrIp"]) for rule in rules for one in rule["IpRanges"]}
