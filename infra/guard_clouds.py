"""What a config for one cloud must have besides: AWS and GCP end, close and mark machines each in its own way."""

import re
from collections.abc import Mapping
from datetime import datetime

from infra.cluster import CLUSTER, PROJECT, ROLE
from infra.guard_checks import SSH_FROM, Check, Config, NodeType
from infra.userdata import LIMIT

TAG = re.compile(r"^[a-z0-9_-]{1,63}$")


def _tags(items: list[Mapping[str, str]]) -> dict[str, str]:
    return {item["Key"]: item["Value"] for item in items}


def _whole(tags: Mapping[str, str], config: Config, role: str = "") -> bool:
    """Whether the tags say whose it is: everything for a run, project and cluster when launched by hand."""
    wanted = {**config.run.tags(), **({ROLE: role} if role else {})} if config.run else {}
    named = all(TAG.match(tags[name]) for name in (PROJECT, CLUSTER))
    return named and all(tags.get(name) == value for name, value in wanted.items())


def _aws_tags(config: Config) -> bool:
    def marked(kind: NodeType) -> bool:
        by = {spec["ResourceType"]: _tags(spec["Tags"]) for spec in kind.config["TagSpecifications"]}
        told = by["instance"][PROJECT], by["instance"][CLUSTER]
        agree = told == (kind.facts.project, kind.facts.cluster)
        return agree and _whole(by["instance"], config, kind.role) and _whole(by["volume"], config)

    return config.every(marked)


def _aws_disks(kind: NodeType) -> bool:
    disks = [mapping["Ebs"] for mapping in kind.config["BlockDeviceMappings"]]
    return bool(disks) and all(disk["Encrypted"] is True and disk["DeleteOnTermination"] is True for disk in disks)


def _aws_spot(kind: NodeType) -> bool:
    """A spot machine must end, not stop, when it is taken away, and not be asked for again by the cloud itself."""
    options = kind.config.get("InstanceMarketOptions")
    if not options:
        return True
    spot = options.get("SpotOptions", {})
    one = spot.get("SpotInstanceType", "one-time") == "one-time"
    return bool(one and spot.get("InstanceInterruptionBehavior", "terminate") == "terminate")


def _aws_ssh(config: Config) -> bool:
    """Groups of our own for a run; Ray's own group is open, so by hand sshd itself must be closed."""
    if config.run is None:
        return config.every(lambda kind: SSH_FROM.search(kind.script) is not None and "AllowUsers" in kind.script)
    return config.every(lambda kind: all(group.startswith("sg-") for group in kind.config["SecurityGroupIds"] or [""]))


def _aws_profile(config: Config) -> bool:
    return config.run is None or config.every(lambda kind: bool(kind.config["IamInstanceProfile"]))


def _gcp_platform(config: Config) -> bool:
    def ends(kind: NodeType) -> bool:
        scheduling = kind.config["scheduling"]
        if scheduling["instanceTerminationAction"] != "DELETE":
            return False
        if config.run is None:
            longest = int(scheduling["maxRunDuration"]["seconds"])
            return 0 < longest <= (kind.facts.relative_seconds or 0)
        return datetime.fromisoformat(scheduling["terminationTime"]).timestamp() == int(config.run.deadline.timestamp())

    return config.every(ends)


def _gcp_disks(kind: NodeType) -> bool:
    return bool(kind.config["disks"]) and all(disk["autoDelete"] is True for disk in kind.config["disks"])


def _gcp_account(kind: NodeType) -> bool:
    scopes = [scope for account in kind.config["serviceAccounts"] for scope in account["scopes"]]
    return not any(scope.endswith("cloud-platform") for scope in scopes)


def _gcp_labels(config: Config) -> bool:
    return config.every(lambda kind: _whole(kind.config["labels"], config, kind.role))


def _gcp_ssh(config: Config) -> bool:
    """A key of our own, and no key of the project's; by hand sshd itself must be closed."""
    if config.run is None:
        return config.every(lambda kind: SSH_FROM.search(kind.script) is not None and "AllowUsers" in kind.script)

    def closed(kind: NodeType) -> bool:
        items = {item["key"]: item["value"] for item in kind.config["metadata"]["items"]}
        return items["block-project-ssh-keys"] == "TRUE" and bool(kind.config["tags"]["items"])

    return config.every(closed)


AWS = (
    Check(
        "shutdown",
        "`InstanceInitiatedShutdownBehavior` must be terminate, else a machine that powers off keeps its disk, billed",
        lambda config: config.every(lambda kind: kind.config["InstanceInitiatedShutdownBehavior"] == "terminate"),
    ),
    Check(
        "metadata",
        "`MetadataOptions.HttpTokens` must be required (IMDSv2)",
        lambda config: config.every(lambda kind: kind.config["MetadataOptions"]["HttpTokens"] == "required"),
    ),
    Check(
        "disks", "every disk must be named, encrypted and DeleteOnTermination", lambda config: config.every(_aws_disks)
    ),
    Check(
        "spot",
        "a spot machine must be one-time and terminate when it is taken away",
        lambda config: config.every(_aws_spot),
    ),
    Check("tags", "instances and volumes must get their tags in the call that creates them", _aws_tags),
    Check(
        "ssh", "SSH must be open to one address: give `SecurityGroupIds`, for Ray's own group is open to all", _aws_ssh
    ),
    Check("profile", "`IamInstanceProfile` must be given, for Ray's own may do everything in EC2 and S3", _aws_profile),
    Check(
        "size",
        f"UserData may have {LIMIT} bytes at most",
        lambda config: config.every(lambda kind: len(kind.script.encode()) <= LIMIT),
    ),
)
GCP = (
    Check("platform", "the platform itself must DELETE each machine at the deadline (`scheduling`)", _gcp_platform),
    Check("disks", "every disk must be autoDelete", lambda config: config.every(_gcp_disks)),
    Check("labels", "machines must get their labels in the call that creates them", _gcp_labels),
    Check("ssh", "only the run's own key may open a machine, and a firewall must be bound to its tag", _gcp_ssh),
    Check(
        "account",
        "a service account of our own must be given, without the scope cloud-platform, which may do everything",
        lambda config: config.run is None or config.every(_gcp_account),
    ),
)
CLOUDS = {"aws": AWS, "gcp": GCP}
