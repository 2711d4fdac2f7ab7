"""Trains one cohort from its first epoch, or from its checkpoint, to its last."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lit_models.cohort import checkpoint
from lit_models.cohort.data import CohortData
from lit_models.cohort.engine import Engine, Setting
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lanes import Lane
from lit_models.cohort.lone import LoneEngine
from lit_models.cohort.population import exploits
from lit_models.cohort.record import CohortSpec, Record, has_diverged, rank
from lit_models.cohort.rules import survivors
from lit_models.core.base import FamilyConfig, LitModel

# Epochs shorter than this share a checkpoint, so that writing it never costs more than a few per cent.
CHECKPOINT_SECONDS = 2.0


def run_cohort(
    spec: CohortSpec,
    family: type[LitModel],
    data: CohortData,
    folder: Path,
    on_checkpoint: Callable[[Record], None],
    pause: float | None = None,
) -> Record:
    """Train a cohort; killed at any moment and called again, it goes on from its checkpoint and ends in the same bits.

    `folder/<name>.safetensors` is the running checkpoint; when the cohort has ended it is replaced by
    `folder/<name>.done.safetensors`, which holds the record and the weights of its best lane that ran to the end.

    Args:
        spec: what to train and how.
        family: the class of its models.
        data: to train on.
        folder: where its files are.
        on_checkpoint: told the record whenever it is safe on disk, also at once when going on from a checkpoint.
        pause: seconds at least between two checkpoints, which come at the ends of epochs; `CHECKPOINT_SECONDS` if None.

    Raises:
        OSError: a checkpoint cannot be written.
    """
    done = folder / f"{spec.name}.done.safetensors"
    running = folder / f"{spec.name}.safetensors"
    finished = checkpoint.read_record(done)
    if finished is not None:
        running.unlink(missing_ok=True)  # killed between the two, it is still there
        on_checkpoint(finished)
        return finished
    torch.set_num_threads(spec.threads)
    device = torch.device(spec.device)
    setting = Setting(family, data.to(device), spec.rule.epochs, device, compiled=spec.compiled)
    engine = build_engine(spec, setting)
    record = Record.new(spec.trials)
    if (saved := checkpoint.read(running)) is not None:
        record = _resume(spec, family, engine, *saved)
        on_checkpoint(record)
    record.began = record.began or time.time()
    saved_at = time.monotonic()
    while record.epoch < spec.rule.epochs and record.alive:
        _epoch(spec, engine, record)
        if time.monotonic() - saved_at >= (CHECKPOINT_SECONDS if pause is None else pause):
            checkpoint.write(running, record, engine.state())
            on_checkpoint(record)
            saved_at = time.monotonic()
    for trial in record.alive:
        record.lanes[trial].end("finished")
    checkpoint.write(done, record, best_weights(spec, engine, record))
    running.unlink(missing_ok=True)
    on_checkpoint(record)
    return record


def build_engine(spec: CohortSpec, setting: Setting) -> Engine:
    """Build the engine that the plan names, with the lanes as they begin."""
    lanes = [
        Lane(trial, setting.family.Config.model_validate_json(json.dumps(config)), seed)
        for trial, config, seed in zip(spec.trials, spec.configs, spec.seeds, strict=True)
    ]
    return FusedEngine(lanes, setting, tuple(spec.rule.space)) if spec.engine == "fused" else LoneEngine(lanes, setting)


def _resume(
    spec: CohortSpec, family: type[LitModel], engine: Engine, record: Record, state: dict[str, Tensor]
) -> Record:
    """Bring a fresh engine to where the checkpoint was written."""
    own = dict(zip(spec.trials, spec.configs, strict=True))
    configs = {
        trial: _changed(family.Config.model_validate_json(json.dumps(own[trial])), lane.changes)
        for trial, lane in record.lanes.items()
        if lane.changes
    }
    engine.load(state, configs)
    return record


def _changed(config: FamilyConfig, changes: dict[str, float]) -> FamilyConfig:
    return type(config).model_validate({**config.model_dump(), **changes})


def _epoch(spec: CohortSpec, engine: Engine, record: Record) -> None:
    """Train one epoch, note it, and let diverged and beaten lanes go."""
    began = time.perf_counter()
    figures = engine.run_epoch(record.epoch)
    record.epoch += 1
    for trial in record.alive:
        lane = record.lanes[trial]
        if has_diverged(figures[trial], spec.explosion):
            lane.end("diverged")
        else:
            lane.epochs.append(figures[trial])
    ranks = {trial: [rank(one, spec.metric) for one in lane.epochs] for trial, lane in record.lanes.items()}
    alive = record.alive
    if alive:
        kept = survivors(spec.rule, record.epoch, ranks, alive)
        for trial in set(alive) - set(kept):
            record.lanes[trial].end("stopped")
        engine.keep(kept)
        _exploit(spec, engine, record, ranks)
    record.seconds.append(time.perf_counter() - began)


def _exploit(spec: CohortSpec, engine: Engine, record: Record, ranks: dict[int, list[tuple[float, float]]]) -> None:
    """Let bad lanes take over good ones, where the rule is PBT (Jaderberg et al., Population Based Training, 2017)."""
    configs = {lane.trial: lane.config for lane in engine.lanes}
    values = {trial: {name: getattr(configs[trial], name) for name in spec.rule.space} for trial in record.alive}
    copies = exploits(spec.rule, record.epoch, ranks, record.alive, values)
    for target, copy in sorted(copies.items()):
        changes = {**values[copy.source], **copy.changes}
        engine.copy(target, copy.source, _changed(configs[target], changes))
        lane = record.lanes[target]
        lane.changes |= changes
        lane.copied.append((record.epoch, copy.source))


def best_weights(spec: CohortSpec, engine: Engine, record: Record) -> dict[str, Tensor]:
    """Return the state_dict of the best lane that ran to the end, each name prefixed by its trial; {} if none did."""
    ended = [trial for trial, lane in record.lanes.items() if lane.status == "finished" and lane.epochs]
    if not ended:
        return {}
    best = min(ended, key=lambda t: (*min(rank(one, spec.metric) for one in record.lanes[t].epochs), t))
    return {f"{best}.{name}": value for name, value in engine.export_lane(best).items()}
