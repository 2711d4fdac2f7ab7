"""What happens in the real AWS by itself: machines start and end with their state, power-off has its effect, and
schedules fire. moto keeps the books alone.
"""

import base64
import json
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import Any

import boto3

from tests.pretend_aws.machine import Facts, Machine

PERIOD = 0.3
REGION = "us-east-1"  # machines of other regions are there on paper alone: moto gives all regions the same addresses


class Watcher(threading.Thread):
    """Looks at moto three times a second."""

    def __init__(self, moto: str, endpoint: str, bridge: str, gateway: str) -> None:
        super().__init__(daemon=True)
        self.endpoint, self.bridge, self.gateway = endpoint, bridge, gateway
        session = boto3.Session("pretended", "pretended", region_name=REGION)
        self.ec2 = session.client("ec2", endpoint_url=moto)
        self.scheduler = session.client("scheduler", endpoint_url=moto)
        self.machines: dict[str, Machine] = {}
        self.fired: set[tuple[str, str]] = set()
        self.lock = threading.RLock()
        self.ended = threading.Event()

    def run(self) -> None:
        """Look until told to stop; a fault of one look is printed, and the next look tries again."""
        while not self.ended.wait(PERIOD):
            try:
                with self.lock:
                    self.look()
            except Exception:
                traceback.print_exc(file=sys.stderr)

    def stop(self) -> None:
        """Switch all machines off."""
        self.ended.set()
        self.join()
        for machine in self.machines.values():
            machine.stop()

    def look(self) -> None:
        """Compare what the cloud says with what runs."""
        pages = self.ec2.get_paginator("describe_instances").paginate()
        there = [i for page in pages for reservation in page["Reservations"] for i in reservation["Instances"]]
        for instance in there:
            self.follow(instance)
        for name in self.machines.keys() - {instance["InstanceId"] for instance in there}:
            self.machines.pop(name).stop()  # the books have been thrown away
        self.fire(datetime.now(UTC))

    def follow(self, instance: dict[str, Any]) -> None:
        """Start a machine that is to run, stop one that is not, and tell the cloud of one that has gone off."""
        name, state = instance["InstanceId"], instance["State"]["Name"]
        machine = self.machines.get(name)
        if state != "running":
            if machine and machine.wanted:
                machine.stop()
        elif machine is None:
            self.machines[name] = machine = Machine(self.facts(instance), self.endpoint, self.bridge, self.gateway)
            machine.start()
        elif not machine.wanted:
            machine.start()
        elif not machine.on:
            self.powered_off(name, machine)

    def powered_off(self, name: str, machine: Machine) -> None:
        """Apply what is to happen when a machine shuts itself down."""
        machine.stop()
        told = self.ec2.describe_instance_attribute(InstanceId=name, Attribute="instanceInitiatedShutdownBehavior")
        if told["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate":
            self.ec2.terminate_instances(InstanceIds=[name])
        else:
            self.ec2.stop_instances(InstanceIds=[name])

    def facts(self, instance: dict[str, Any]) -> Facts:
        """Gather what a machine gets to know at its boot."""
        name = instance["InstanceId"]
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

    def running(self) -> list[dict[str, object]]:
        """Tell of the machines that are on."""
        with self.lock:
            return [machine.told() for machine in self.machines.values() if machine.on]

    def order(self, order: str, name: str) -> None:
        """Do to a machine what can happen to one: its cable is pulled, it is restarted, it hangs."""
        with self.lock:
            machine = self.machines[name]
            if order in ("cut", "uncut"):
                machine.cut(apart=order == "cut")
            elif order == "freeze":
                machine.freeze()
            elif order == "reboot":
                machine.stop()
                machine.start()
            else:
                raise ValueError(f"no such order: {order}")
