"""What would fail only when the first machine is asked for, found out before."""

from typing import Any

from infra.aws import images
from infra.aws.clients import Clients
from infra.aws.errors import Denied, asking, code_of
from infra.aws.names import base, tag_list
from infra.cluster import Run
from infra.faults import CloudFault, Refused


def check_disks(clients: Clients, run: Run) -> None:
    """See that the image fits on the disks.

    Raises:
        Refused: it does not; says how large they must be.
    """
    if not run.image:
        return
    least = images.look_up(clients, run.image).disk_gb
    if least > min(run.shape.head_disk_gb, run.shape.worker_disk_gb):
        raise Refused(f"cloud.disk_gb: the image {run.image} alone takes {least} GB; set it to {least + 10} or more")


def check_rights(clients: Clients, run: Run) -> None:
    """Ask AWS whether it would let us launch the head, without launching it.

    Raises:
        Refused: it would not; says what AWS says.
    """
    if not run.image:
        return
    tags: Any = tag_list(run.tags(), base(run.project, run.cluster))
    kind: Any = run.shape.head.machine.name
    try:
        with asking("asking whether we may launch a machine"):
            clients.ec2().run_instances(
                DryRun=True,
                ImageId=run.image,
                InstanceType=kind,
                MinCount=1,
                MaxCount=1,
                TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
                MetadataOptions={"HttpTokens": "required"},
            )
    except Denied as fault:
        raise Refused(str(fault)) from fault
    except CloudFault as fault:
        # That is how AWS says yes. Anything else concerns this request, and not the one that will be sent.
        if code_of(fault) not in ("DryRunOperation", "MissingInput"):
            raise
