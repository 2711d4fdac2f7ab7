"""The clients of AWS's services, made once each; every other file of this package gets them from here."""

import difflib
import os
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from infra.aws.errors import translate
from infra.faults import Refused

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_pricing import PricingClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_service_quotas import ServiceQuotasClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

# The Pricing API lives in few regions; from each it tells of all.
PRICING_REGION = "us-east-1"


class Clients:
    """Clients by service and region, safe to ask for from any thread.

    Throttled and failed requests are sent again by botocore itself, with exponential backoff and jitter.

    Attributes:
        region: where machines are launched.
    """

    def __init__(self, region: str) -> None:
        self.region = region
        self._made: dict[tuple[str, str], Any] = {}
        self._offered: dict[str, set[str]] = {}
        self._lock = threading.Lock()
        self._session: boto3.Session | None = None
        self._config = Config(
            retries={"mode": "standard", "total_max_attempts": 6},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=32,
        )

    def _client(self, service: str, region: str) -> Any:
        with self._lock:
            if (service, region) not in self._made:
                try:
                    self._session = self._session or boto3.Session(region_name=self.region)
                    client = self._session.client(service, region_name=region, config=self._config)  # type: ignore[call-overload]
                except BotoCoreError as error:
                    raise translate(error, f"opening {service} in {region}") from error
                self._made[service, region] = client
            return self._made[service, region]

    def ec2(self, region: str = "") -> "EC2Client":
        """Machines, disks, networks, keys."""
        client: EC2Client = self._client("ec2", region or self.region)
        return client

    def ssm(self, region: str = "") -> "SSMClient":
        """Parameters: Amazon's list of images, and our clusters' deadlines."""
        client: SSMClient = self._client("ssm", region or self.region)
        return client

    def scheduler(self, region: str = "") -> "EventBridgeSchedulerClient":
        """One-off schedules."""
        client: EventBridgeSchedulerClient = self._client("scheduler", region or self.region)
        return client

    def quotas(self) -> "ServiceQuotasClient":
        """What the account may have."""
        client: ServiceQuotasClient = self._client("service-quotas", self.region)
        return client

    def iam(self) -> "IAMClient":
        """Roles and instance profiles; they belong to no region."""
        client: IAMClient = self._client("iam", self.region)
        return client

    def sts(self) -> "STSClient":
        """Who am I."""
        client: STSClient = self._client("sts", self.region)
        return client

    def s3(self) -> "S3Client":
        """The project's bucket."""
        client: S3Client = self._client("s3", self.region)
        return client

    def pricing(self) -> "PricingClient":
        """On-demand prices."""
        client: PricingClient = self._client("pricing", PRICING_REGION)
        return client

    def know_region(self) -> None:
        """See that there is such a region.

        Raises:
            Refused: there is not; names near ones.
        """
        try:
            session = boto3.Session(region_name=self.region)
            known = [
                region
                for partition in session.get_available_partitions()
                for region in session.get_available_regions("ec2", partition_name=partition)
            ]
        except BotoCoreError as error:
            raise Refused(str(translate(error, "reading the AWS profile"))) from error
        if self.region not in known:
            near = difflib.get_close_matches(self.region, known, 3, 0.5)
            raise Refused(
                f"cloud.aws.region: `{self.region}` is no region of AWS"
                + (f"; near ones: {', '.join(near)}" * bool(near))
            )

    def has(self, service: str, region: str) -> bool:
        """Whether a region has a service, as far as botocore knows."""
        with self._lock:
            if service not in self._offered:
                session = boto3.Session(region_name=self.region)
                partition = session.get_partition_for_region(self.region)
                self._offered[service] = set(session.get_available_regions(service, partition_name=partition))
            return region in self._offered[service]

    @property
    def is_amazon(self) -> bool:
        """Whether this is Amazon itself, whose parts take a while to know of each other's news."""
        host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "https://amazonaws.com")).hostname or ""
        return host == "amazonaws.com" or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for client in self._made.values():
                client.close()
            self._made.clear()
