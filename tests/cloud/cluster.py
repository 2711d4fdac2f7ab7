"""A person's project folder in the pretended AWS, and what a test asks that cloud."""

import json
from typing import Any

from tests.cloud.project import Project, read_until, replace_in
from tests.pretend_aws.client import PretendAws

__all__ = ["HERE", "Cluster", "read_until", "replace_in"]
HERE = "172.31.255.1/32"  # the person's address


class Cluster(Project):
    """One cluster on AWS, with its folder."""

    def __init__(self, aws: PretendAws, name: str, **settings: Any) -> None:
        super().__init__(aws, name, **{"ssh_from": HERE, **settings})
        self.aws = aws

    def nodes(self, role: str = "", *, alive: bool = True) -> list[dict[str, Any]]:
        """Machines of this cluster as the cloud tells of them, oldest first; the dead as well if not `alive`."""
        filters = [{"Name": "tag:fifty-cluster", "Values": [self.name]}]
        if role:
            filters.append({"Name": "tag:fifty-role", "Values": [role]})
        reservations = self.aws.client("ec2").describe_instances(Filters=filters)["Reservations"]
        found = [instance for reservation in reservations for instance in reservation["Instances"]]
        found = [one for one in found if not alive or one["State"]["Name"] != "terminated"]
        return sorted(found, key=lambda one: one["LaunchTime"])

    def head_address(self) -> str:
        """See `Project.head_address`."""
        return str(self.nodes("head")[-1]["PublicIpAddress"])

    def head(self) -> str:
        """The id of the head."""
        return str(self.nodes("head")[-1]["InstanceId"])

    def worker(self) -> str:
        """The id of the newest worker."""
        return str(self.nodes("worker")[-1]["InstanceId"])

    def wait_for_worker(self, seconds: float = 150) -> str:
        """Wait until a worker is set up and at work."""
        ready = "test -e /var/lib/fifty/marks/ready"

        def up() -> bool:
            on = self.aws.machines().keys() & {node["InstanceId"] for node in self.nodes("worker")}
            return any(self.aws.on_machine(one, ready).returncode == 0 for one in on)

        self.wait("a worker is set up", up, seconds)
        return self.worker()

    def told(self) -> str:
        """What there is to say of the machines when something is not as it should be."""
        lines = []
        for node in self.nodes(alive=False):
            lines.append(f"{node['InstanceId']} {node['State']['Name']} since {node['LaunchTime']}")
            lines += self.logs(node["InstanceId"])
        return "\n".join(lines)

    def nothing_left(self) -> None:
        """What every scenario ends with: no machine, no disk, no group and key of ours, and the ledger settled."""
        ec2, iam, ssm = self.aws.client("ec2"), self.aws.client("iam"), self.aws.client("ssm")
        assert not self.nodes(), self.told()
        tagged = [{"Name": "tag:fifty-cluster", "Values": [self.name]}]
        assert not ec2.describe_volumes()["Volumes"]
        assert not ec2.describe_addresses()["Addresses"]
        assert not ec2.describe_security_groups(Filters=tagged)["SecurityGroups"]
        assert not ec2.describe_key_pairs()["KeyPairs"]
        names = [one["InstanceProfileName"] for one in iam.list_instance_profiles()["InstanceProfiles"]]
        names += [one["RoleName"] for one in iam.list_roles()["Roles"]]
        names += [one["Name"] for one in ssm.describe_parameters()["Parameters"]]
        names += [one["Name"] for one in self.aws.client("scheduler").list_schedules()["Schedules"]]
        assert not [name for name in names if f"fifty-{self.name}" in name or f"/{self.name}/" in name]
        assert not list((self.outside / ".fifty/cloud").glob(f"{self.name}.[jpy]*"))
        events = self.ledger()
        reserved = {event["run"]: event["dollars"] for event in events if event["kind"] == "reserved"}
        settled = {event["run"]: event["dollars"] for event in events if event["kind"] == "settled"}
        assert reserved.keys() == settled.keys()
        assert all(0 <= settled[run] <= reserved[run] for run in reserved), events

    def ledger(self) -> list[dict[str, Any]]:
        """The events of the ledger in the bucket, in order."""
        s3 = self.aws.client("s3")
        events = []
        for bucket in s3.list_buckets()["Buckets"]:
            for listed in s3.list_objects_v2(Bucket=bucket["Name"], Prefix="ledger/").get("Contents", []):
                body = s3.get_object(Bucket=bucket["Name"], Key=listed["Key"])["Body"].read()
                events.append((listed["Key"], json.loads(body)))
        return [event for _, event in sorted(events, key=lambda pair: pair[0])]

    def runs(self) -> set[str]:
        """The runs that have been reserved."""
        return {event["run"] for event in self.ledger() if event["kind"] == "reserved"}
