"""The section `cloud` of params.yaml: what may be spent, on what, and for how long. Read by the `fifty` command alone.

No stage depends on it, so that moving from this machine to a cloud, or to another, reruns nothing.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from infra.faults import Refused

FILE = Path("params.yaml")


class Section(BaseModel):
    """A mapping: unknown keys, wrong types and NaN are refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class AwsConfig(Section):
    """`cloud.aws`: what is Amazon's own."""

    region: str = Field(default="us-east-1", description="where machines are launched")
    head: str = Field(default="auto", description="instance type of the head; `auto`: the cheapest that will do")
    worker: str = Field(default="auto", description="instance type of the workers; `auto`: the cheapest that fits")
    bucket: str = Field(default="auto", description="keeps the shared ledger; `auto`: fifty-<project>-<account>")
    schedule: bool = Field(default=False, description="have EventBridge, too, terminate the head at the deadline")


class GcpConfig(Section):
    """`cloud.gcp`: what is Google's own."""

    project_id: str = Field(default="", description="Google's project; empty: the credentials' own")
    zone: str = Field(default="us-central1-a", description="where machines are launched")
    head: str = Field(default="auto", description="machine type of the head; `auto`: the cheapest that will do")
    worker: str = Field(default="auto", description="machine type of the workers; `auto`: the cheapest that fits")
    bucket: str = Field(default="auto", description="keeps the shared ledger; `auto`: fifty-<project>-<project id>")


class CloudConfig(Section):
    """The section `cloud`."""

    budget_usd: float = Field(default=50.0, gt=0, description="all that may ever be spent, by everybody who shares it")
    project: str = Field(
        default="fifty", description="what shares the budget; tags and names in the cloud begin with it"
    )
    cluster: str = Field(default="main", description="name of the cluster; one of a name at a time")
    hours: float = Field(default=4.0, gt=0, le=168, description="after so long every machine is off, whatever happens")
    workers: int = Field(default=2, ge=1, le=1000, description="workers at most; they come and go as they are needed")
    gpus: int = Field(default=1, ge=0, le=16, description="GPUs of a worker; 0 trains on processors")
    gpu_memory_gb: float = Field(default=8.0, ge=0, description="memory of a GPU at least")
    cores: int = Field(default=4, ge=1, description="cores of a worker at least")
    memory_gb: float = Field(default=15.0, gt=0, description="main memory of a worker at least, GB")
    spot: bool = Field(default=True, description="take spot machines, which are cheaper and may be taken away")
    fallback: bool = Field(default=True, description="take on-demand machines where there are no spot ones")
    disk_gb: int = Field(
        default=100, ge=30, le=2000, description="disk of every machine, GB; images with a GPU's driver need 75"
    )
    setup_minutes: float = Field(
        default=10.0, ge=0, le=120, description="expected from asking for a machine to its first trial"
    )
    idle_minutes: float = Field(default=10.0, ge=1, description="idle for so long, workers end; and then the head")
    margin_minutes: float = Field(default=10.0, ge=5, description="paid for beyond the deadline in the worst case")
    ssh_from: str = Field(default="auto", description="the one address SSH is open to; `auto`: this machine's own")
    ledger: Literal["bucket", "local"] = Field(
        default="bucket", description="`bucket`: shared by all who use the project; `local`: this machine's file alone"
    )
    throughput: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default={}, description="units of work per hour that types of machines were measured to do, as g4dn.xlarge: 120"
    )
    aws: AwsConfig = AwsConfig()
    gcp: GcpConfig = GcpConfig()

    @field_validator("project")
    @classmethod
    def _project(cls, name: str) -> str:
        return _name(name, 32)

    @field_validator("cluster")
    @classmethod
    def _cluster(cls, name: str) -> str:
        return _name(name, 16)

    @field_validator("ssh_from")
    @classmethod
    def _ssh_from(cls, address: str) -> str:
        return address if address == "auto" else one_address(address)


def _name(name: str, most: int) -> str:
    """What every cloud takes as part of a name and as a tag's value."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", name) or len(name) > most:
        raise ValueError(
            f"clouds refuse the name {name!r}; take 2 to {most} lower-case letters, digits and hyphens, a letter first"
        )
    return name


def one_address(text: str) -> str:
    """Return an IPv4 address as the network of it alone, `203.0.113.7/32`.

    Raises:
        ValueError: it is none, or a network of many.
    """
    try:
        network = ipaddress.IPv4Network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 address; give one, as 203.0.113.7, or `auto`") from None
    if network.prefixlen != 32:
        raise ValueError(f"{text!r} are {network.num_addresses} addresses; give one, as 203.0.113.7, or `auto`")
    return str(network)


def load(path: Path = FILE) -> CloudConfig:
    """Read and check the section `cloud` of params.yaml, and nothing else of it; without the section: the defaults.

    Raises:
        Refused: one line per fault, each with the key's path.
    """
    from infra.settings_faults import explain, read

    data: Any = read(path)
    if not isinstance(data, dict):
        raise Refused(f"{path.name}: should be a mapping of sections")
    section = data.get("cloud", {})
    try:
        return CloudConfig.model_validate(section)
    except ValidationError as error:
        raise Refused("\n".join(explain(error, CloudConfig, "cloud"))) from None
