"""Decides which cloud and region a command is about: what the person says, or else where the cluster was launched."""

from infra import record, settings
from infra.context import Context
from infra.faults import Fault, Refused
from infra.launcher import Say
from infra.providers import cloud as row_of
from infra.record import Record

DEFAULT = "aws"


def context_for(name: str, say: Say, warn: Say, *, changes: bool = False) -> Context:
    """Read the settings and build what a command works with.

    Args:
        name: of the cloud, or empty.
        changes: whether the command changes the cluster of the settings, which then must be in that cloud.

    Raises:
        Refused: the settings are wrong, there is no such cloud, or the cluster is in another.
    """
    chosen = settings.load()
    kept = _kept(chosen.cluster)
    name = name or (kept.run.cloud if kept else DEFAULT)
    row = row_of(name)
    if kept is not None and kept.run.cloud == name:
        if kept.run.region != row.region(chosen):
            say(f"cluster {chosen.cluster} is in {kept.run.region}, whatever params.yaml says by now")
        chosen = row.moved(chosen, kept.run.region)
    elif kept is not None and changes:
        raise Refused(
            f"cluster {chosen.cluster} is on {kept.run.cloud}; end it there (`fifty down {kept.run.cloud}`), "
            "or choose another name as `cloud.cluster`"
        )
    provider = row.build(chosen)
    return Context(
        settings=chosen,
        provider=provider,
        region=row.region(chosen),
        launch=row.launcher(provider),
        say=say,
        warn=warn,
        sleep=row.sleep,
        activity=row.activity,
    )


def _kept(cluster: str) -> Record | None:
    """The record if there is one that can be read; what cannot be read is told by the command that needs it."""
    try:
        return record.load(cluster)
    except Fault:
        return None
