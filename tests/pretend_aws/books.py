"""moto's books: which machines AWS has, what they know, and which of its schedules are due."""

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import boto3

from tests.pretend_aws.machine import Facts

REGION = "us-east-1"  # machines of other regions are there on paper alone: moto gives all regions the same addresses


class AwsBooks:
    """Implements `watcher.Books` by moto's interface.

    Args:
        moto: its address.
    """

    def __init__(self, moto: str) -> None:
        session = boto3.Session("pretended", "pretended", region_name=REGION)
        self.ec2 = session.client("ec2", endpoint_url=moto)
        self.scheduler = session.client("scheduler", endpoint_url=moto)
        self.instances: dict[str, dict[str, Any]] = {}
        self.fired: set[tuple[str, str]] = set()

    def read(self) -> dict[str, bool]:
        """See `Books.read`."""
        self.fire(datetime.now(UTC))
        pages = self.ec2.get_paginator("describe_instances").paginate()
        there = [i for page in pages for reservation in page["Reservations"] for i in reservation["Instances"]]
        self.instances = {instance["InstanceId"]: instance for instance in there}
        return {name: instance["State"]["Name"] == "running" for name, instance in self.instances.items()}

    def powered_off(self, name: str) -> None:
        """See `Books.powered_off`."""
        told = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="instanceInitiatedShutdownBehavior")
        if told["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate":
            self.ec2.terminate_instances(InstanceIds=[name])
        else:
            self.ec2.stop_instances(InstanceIds=[name])

    def facts(self, name: str) -> Facts:
        """See `Books.facts`."""
        instance = self.instances[name]
        told = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")
        user_data = base64.b64decode(told.get("UserData", {}).get("Value", "")).decode()
        key = ""
        if instance.get("KeyName"):
            pairs = self.ec2.describe_key_pairs(KeyNames=[instance["KeyName"]], IncludePublicKey=True)["KeyPairs"]
            key = pairs[0].get("PublicKey", "")
        address, public = instance["PrivateIpAddress"], instance.get("PublicIpAddress", "")
        return Facts(name, address, public, key, user_data, instance["ImageId"])

    def fire(self, now: datetime) -> None:
        """Carry out EventBridge's one-off schedules whose time has come; only what ends machines is known here."""
        for listed in self.scheduler.list_schedules()["Schedules"]:
            told = self.scheduler.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
            at = re.fullmatch(r"at\((.*)\)", told["ScheduleExpression"])
            key = (told["Name"], told["ScheduleExpression"])
            if not at or told.get("State") == "DISABLED" or key in self.fired:
                continue
            if datetime.fromisoformat(at[1]).replace(tzinfo=UTC) <= now:
                self.fired.add(key)
                if told["Target"]["Arn"].endswith("ec2:terminateInstances"):
                    self.ec2.terminate_instances(**json.loads(told["Target"]["Input"]))
                if told.get("ActionAfterCompletion") == "DELETE":
                    self.scheduler.delete_schedule(Name=told["Name"], GroupName=listed["GroupName"])
