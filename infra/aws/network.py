"""What is needed to reach the machines: a key pair, a security group, and subnets where they are to be had."""

from collections.abc import Mapping
from functools import partial
from ipaddress import ip_network
from typing import Any

from infra.aws.clients import Clients
from infra.aws.errors import ALREADY, absent_is_fine, asking, code_of, once_known
from infra.aws.machines import zones
from infra.aws.names import base, tag_dict, tag_list
from infra.cluster import CLUSTER, PROJECT, Run
from infra.faults import CloudFault, Refused

SSH = 22


def vpc(clients: Clients) -> str:
    """The region's default network, where machines have public addresses.

    Raises:
        Refused: there is none; says how to have one.
    """
    with asking("looking for the default network"):
        found = clients.ec2().describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not found:
        raise Refused(
            f"{clients.region} has no default VPC in this account: "
            f"`aws ec2 create-default-vpc --region {clients.region}` makes one, free of charge"
        )
    return found[0]["VpcId"]


def subnets(clients: Clients, machine: str) -> list[str]:
    """The public subnets whose zone has a type of instance, in the order of the zones.

    Raises:
        Refused: no zone of the region has it.
    """
    network, offered = vpc(clients), zones(clients, [machine])[machine]
    with asking("listing the subnets"):
        pages = (
            clients.ec2()
            .get_paginator("describe_subnets")
            .paginate(Filters=[{"Name": "vpc-id", "Values": [network]}, {"Name": "state", "Values": ["available"]}])
        )
        found: list[Any] = [subnet for page in pages for subnet in page["Subnets"]]
    public = [subnet for subnet in found if subnet.get("MapPublicIpOnLaunch")]
    usable = [subnet for subnet in public if subnet["AvailabilityZone"] in offered]
    if not usable:
        raise Refused(
            f"no subnet of the default network of {clients.region} is public and in a zone that has {machine} "
            f"({', '.join(sorted(offered)) or 'no zone has it'}): set cloud.aws.region to another"
        )
    return [subnet["SubnetId"] for subnet in sorted(usable, key=lambda subnet: subnet["AvailabilityZone"])]


def ensure_key(clients: Clients, run: Run, public_key: str) -> str:
    """Import the public key, or find it imported; return the key pair's name."""
    name, ec2 = base(run.project, run.cluster), clients.ec2()
    with asking("looking for the key pair"):
        there = ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [name]}], IncludePublicKey=True)
    for pair in there["KeyPairs"]:
        _ours(tag_dict(pair.get("Tags")), run, f"key pair `{name}`")
        if pair.get("PublicKey", "").split()[:2] == public_key.split()[:2]:
            with asking(f"tagging the key pair {name}"):
                ec2.create_tags(Resources=[pair["KeyPairId"]], Tags=tag_list(run.tags()))
            return name
        # The private key is lost, with the machine that had it: nobody can use this pair any more.
        absent_is_fine(f"removing the old key pair {name}", lambda: ec2.delete_key_pair(KeyName=name))
    with asking(f"importing the key pair {name}"):
        ec2.import_key_pair(
            KeyName=name, PublicKeyMaterial=public_key.encode(), TagSpecifications=_tagged("key-pair", run, name)
        )
    return name


def ensure_group(clients: Clients, run: Run) -> str:
    """Make the security group, or find it, see that it lets in what it should and nothing else; return its id."""
    name, network, ec2 = base(run.project, run.cluster), vpc(clients), clients.ec2()
    with asking("looking for the security group"):
        found = ec2.describe_security_groups(
            Filters=[{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [network]}]
        )["SecurityGroups"]
    if found:
        group = found[0]["GroupId"]
        _ours(tag_dict(found[0].get("Tags")), run, f"security group `{name}`")
        with asking(f"tagging the security group {name}"):
            ec2.create_tags(Resources=[group], Tags=tag_list(run.tags()))
        present: list[Any] = list(found[0].get("IpPermissions", []))
    else:
        with asking(f"creating the security group {name}"):
            group = ec2.create_security_group(
                GroupName=name,
                Description=f"fifty: cluster {run.cluster} of {run.project}",
                VpcId=network,
                TagSpecifications=_tagged("security-group", run, name),
            )["GroupId"]
        present = []
    _let_in(clients, group, present, rules(group, run.ssh_from))
    return group


def rules(group: str, ssh_from: str) -> list[Any]:
    """What the group lets in: SSH from one address, and everything from its own machines.

    Raises:
        Refused: `ssh_from` is more than one address.
    """
    try:
        source = ip_network(ssh_from)
    except ValueError:
        raise Refused(f"cloud.ssh_from: `{ssh_from}` is no address, as 203.0.113.7 is") from None
    if source.num_addresses != 1:
        raise Refused(f"cloud.ssh_from: `{ssh_from}` is more than one address; SSH is opened to one alone")
    ranges = (
        {"IpRanges": [{"CidrIp": str(source), "Description": "who launched it"}]}
        if source.version == 4
        else {"Ipv6Ranges": [{"CidrIpv6": str(source), "Description": "who launched it"}]}
    )
    return [
        {"IpProtocol": "tcp", "FromPort": SSH, "ToPort": SSH, **ranges},
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
    ]


def _let_in(clients: Clients, group: str, present: list[Any], wanted: list[Any]) -> None:
    """Close what should not be open, then open what should."""
    ec2, asked = clients.ec2(), {_key(rule) for rule in wanted}
    for rule in present:
        if _key(rule) not in asked:
            with asking(f"closing the security group {group}"):
                ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    there = {_key(rule) for rule in present}
    for rule in wanted:
        if _key(rule) in there:
            continue
        opened = partial(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
        try:
            once_known(f"opening the security group {group}", opened)
        except CloudFault as fault:
            if not ALREADY.search(code_of(fault)):
                raise


def _key(rule: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a rule lets in, without what is only said of it."""
    return (
        rule.get("IpProtocol"),
        None if rule.get("IpProtocol") == "-1" else (rule.get("FromPort"), rule.get("ToPort")),
        tuple(sorted(source["CidrIp"] for source in rule.get("IpRanges", []))),
        tuple(sorted(source["CidrIpv6"] for source in rule.get("Ipv6Ranges", []))),
        tuple(sorted(source["GroupId"] for source in rule.get("UserIdGroupPairs", []))),
        tuple(sorted(source["PrefixListId"] for source in rule.get("PrefixListIds", []))),
    )


def _ours(tags: Mapping[str, str], run: Run, what: str) -> None:
    """Never take over what somebody else has made."""
    if (tags.get(PROJECT), tags.get(CLUSTER)) != (run.project, run.cluster):
        raise Refused(f"this account has a {what} already that is not ours; set cloud.project or cloud.cluster")


def _tagged(kind: str, run: Run, name: str) -> Any:
    return [{"ResourceType": kind, "Tags": tag_list(run.tags(), name)}]
