"""`fifty up`: reserve first, launch second; killed anywhere, the next `fifty up` goes on and `fifty down` clears.

Everything that a later command would have to know is on the disk, or in the ledger, before the step that it is about.
"""

import json
from dataclasses import replace
from pathlib import Path

from infra import begin, keys, record, words
from infra.clear import again
from infra.cluster import Inventory, Node
from infra.context import Context
from infra.down import take_down
from infra.faults import CloudFault, Fault, Refused
from infra.launcher import end_leftover
from infra.ledger import Ledger, observe
from infra.record import Record, Status

# A cloud may tell of a new machine some seconds late.
LOOKS_FOR_HEAD, PAUSE_SECONDS = 6, 3.0


def up(context: Context) -> Record:
    """Launch the cluster of the settings, or go on with what a killed `fifty up` has begun.

    Raises:
        Refused: nothing was begun, or all of it is undone.
        Fault: something failed on the way; `fifty up` tries again, `fifty down` clears.
    """
    context.launch.check()
    with record.lock(context.settings.cluster):
        if end_leftover(context.settings.cluster):
            context.say("ended the `ray up` that a killed `fifty up` had left")
        kept = _adopted(context) or begin.begin(context)
        begin.reserve(context, kept)
        try:
            return _launched(context, _made(context, kept))
        except Refused as refused:
            _undo(context, refused)
            raise
        except Fault as fault:
            if "`fifty down`" in str(fault):
                raise
            raise type(fault)(f"{fault}; `fifty up` goes on from there, `fifty down` removes what is there") from None


def _adopted(context: Context) -> Record | None:
    """Return the record of a run that is to go on; clear away what a run that is over has left."""
    kept = record.load(context.settings.cluster)
    if kept is None:
        return None
    context.provider.whoami()
    run, now = kept.run, context.clock()
    account = Ledger(context.store.read()).run(run.id)
    if kept.status == "ending":
        raise Refused(f"a `fifty down` of cluster {run.cluster} was interrupted: let it finish, then `fifty up`")
    if run.deadline <= now or (account is not None and account.settled is not None):
        context.say(f"the run {run.id} is over; clearing what it left")
        take_down(context)
        return None
    context.say(
        f"going on with the run {run.id}, reserved on {words.moment(run.start)}, off {words.until(run.deadline, now)}; "
        "what was changed in params.yaml since counts after the next `fifty down`"
    )
    if not kept.key.exists() and kept.status != "reserved":
        raise Fault(f"the key file {kept.key} is gone, and nothing else opens the machines of the run: `fifty down`")
    return begin.reopened(context, kept)


def _made(context: Context, kept: Record) -> Record:
    """Take the provider's steps one by one, each written down when it is done."""
    public = keys.public_key(kept.key)
    for step in context.provider.steps(kept.run, public):
        made = again(context, step.ensure)
        kept = replace(kept, made={**kept.made, step.name: made})
        record.save(kept)
        context.say(f"{step.name}: {made}")
    return kept


def _rendered(context: Context, kept: Record) -> Path:
    config = context.provider.cluster_config(kept.run, kept.made, kept.key)
    context.launch.accept(config, kept.run)
    path = record.file(kept.run.cluster, ".yaml")
    # JSON is YAML of any version; Ray's reader takes a bare `on` for true.
    record.write(path, json.dumps(config, indent=1).encode())
    return path


def _undo(context: Context, refused: Refused) -> None:
    """What is refused has begun nothing: take away the little that was made on the way, if no machine was asked for."""
    kept = record.load(context.settings.cluster)
    if kept is None or kept.status != "reserved":
        return
    try:
        take_down(context)
    except Fault as fault:
        raise Fault(f"{refused}; and {fault}") from None


def _launched(context: Context, kept: Record) -> Record:
    run = kept.run
    # Somebody may have taken it down from elsewhere in the meantime, and its reservation with it.
    begin.still_reserved(context, run)
    if kept.status != "reserved":
        head = _one_head(context, kept, again(context, context.provider.inventory))
        if head is not None and kept.status != "launching":
            return kept  # `ray up` on what is up would restart Ray, and with it all that runs
    config = _rendered(context, kept)
    kept = _is(kept, "launching")
    context.say(f"`ray up`: one {run.shape.head.machine.name} as head, set up from uv.lock; this takes minutes")
    try:
        context.launch(config, record.file(run.cluster, ".log"), context.say)
    finally:
        _look(context, kept)
    head = _head(context, kept)
    try:
        begin.still_reserved(context, run)
    except Fault as fault:
        take_down(context)
        raise Fault(f"{fault}; what was launched since is ended") from None
    again(context, lambda: context.provider.launched(run, head))
    return _is(kept, "up")


def _is(kept: Record, status: Status) -> Record:
    kept = replace(kept, status=status)
    record.save(kept)
    return kept


def _look(context: Context, kept: Record) -> None:
    """Write into the ledger what was launched, whether or not it was all that should be."""
    try:
        observe(context.store, kept.run.id, context.provider.inventory(), context.region)
    except Fault as fault:
        context.warn(f"the ledger does not yet know what was launched ({fault}); `fifty status` tells it")


def _head(context: Context, kept: Record) -> Node:
    for _ in range(LOOKS_FOR_HEAD):
        inventory = again(context, context.provider.inventory)
        if head := _one_head(context, kept, inventory):
            observe(context.store, kept.run.id, inventory, context.region)
            return head
        context.sleep(PAUSE_SECONDS)
    raise CloudFault(
        f"`ray up` says that it is done, and the cloud tells of no head of the run {kept.run.id}; see `fifty status`"
    )


def _one_head(context: Context, kept: Record, inventory: Inventory) -> Node | None:
    """Return the run's head, the newest. Older ones go: only one is paid for.

    There are two when `ray up` was killed and begun again before the cloud told of the first one's head.
    """
    heads = [node for node in inventory.nodes if node.run == kept.run.id and node.role == "head" and node.costs]
    heads = sorted((node for node in heads if node.state in ("pending", "running")), key=lambda node: node.launched)
    if len(heads) > 1:
        context.say(f"ending {words.count(len(heads) - 1, 'head')} too many")
        again(context, lambda: context.provider.terminate(heads[:-1]))
    return heads[-1] if heads else None
