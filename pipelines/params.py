"""Composes the schema of params.yaml from its owners' configs, and is the only reader of that file.

python -m pipelines.params        # validates the whole file: one line per fault, exit code 2
"""

import argparse
import copy
import hashlib
import json
import re
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from pipelines import places, yaml_source
from pipelines.augmentations import AUGMENTATIONS
from pipelines.datasets import DATASETS
from pipelines.evaluations import EVALUATIONS
from pipelines.explain import explain
from pipelines.machine import MachineConfig
from pipelines.nearest import hint, known
from pipelines.report import ReportConfig
from pipelines.searchers import SearchConfig
from pipelines.section import Section
from pipelines.train import TrainConfig

if TYPE_CHECKING:
    from lit_models.core.base import FamilyConfig

FILE = Path("params.yaml")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class DatasetParams(Section):
    """`datasets.<key>`: where data comes from and what is made of it before any model sees it."""

    kind: str = Field(description="a name in pipelines/datasets/__init__.py")
    fetch: dict[str, Any] = Field(description="what this kind of dataset is fetched from")
    prepare: dict[str, Any] = Field(description="what this kind of dataset makes of its raw bytes")
    augment: dict[str, Any] = Field(description="how copies of the training set are made")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, name: str) -> str:
        return known(name, DATASETS)


class ExperimentParams(Section):
    """`experiments.<key>`: one family on one dataset, searched, trained, evaluated."""

    dataset: str = Field(description="a key of `datasets`")
    family: str = Field(description="a name in lit_models/__init__.py")
    model: dict[str, Any] = Field(description="hyperparameters that the search leaves alone")
    search: SearchConfig
    train: TrainConfig
    evaluate: dict[str, Any] = Field(description="how models of this form of data are tested")


class Params(Section):
    """The whole file."""

    datasets: dict[str, DatasetParams] = Field(min_length=1)
    experiments: dict[str, ExperimentParams] = Field(min_length=1)
    report: ReportConfig
    machine: MachineConfig = MachineConfig()
    cloud: dict[str, Any] = Field(
        default={}, description="of the command `fifty`, which reads it itself; docs/cloud.md"
    )

    @cached_property
    def _families(self) -> dict[str, Any]:
        from lit_models import FAMILIES

        return dict(FAMILIES)

    def form(self, dataset: str) -> str:
        """The form of the dataset's prepared data."""
        return DATASETS[self.datasets[dataset].kind].form

    def fetch_config(self, dataset: str) -> Any:
        """The dataset's own fetch config, typed."""
        return _strict(DATASETS[self.datasets[dataset].kind].FetchConfig, self.datasets[dataset].fetch)

    def prepare_config(self, dataset: str) -> Any:
        """The dataset's own prepare config, typed."""
        return _strict(DATASETS[self.datasets[dataset].kind].PrepareConfig, self.datasets[dataset].prepare)

    def augment_config(self, dataset: str) -> Any:
        """The config of the dataset's kind of augmentation, typed."""
        augmentation = AUGMENTATIONS[DATASETS[self.datasets[dataset].kind].augmentation]
        return _strict(augmentation.Config, self.datasets[dataset].augment)

    def evaluate_config(self, experiment: str) -> Any:
        """The config of the evaluation of the experiment's form of data, typed."""
        section = self.experiments[experiment]
        return _strict(EVALUATIONS[self.form(section.dataset)].Config, section.evaluate)

    def family_config(self, experiment: str, drawn: dict[str, Any]) -> "FamilyConfig":
        """The family's config with `model:` and the drawn hyperparameters in it."""
        section = self.experiments[experiment]
        config: FamilyConfig = _strict(self._families[section.family].Config, {**section.model, **drawn})
        return config


class ParamsFaults(Exception):
    """params.yaml is not valid; `faults` holds one line per fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def load(path: Path = FILE) -> Params:
    """Read and validate the whole file.

    Raises:
        ParamsFaults: anything in it is wrong.
    """
    try:
        data = yaml_source.read(path)
    except yaml_source.YamlFaults as error:
        raise ParamsFaults(error.faults) from None
    stamp = places.state("valid", _fingerprint(path))
    try:
        params: Params = _strict(Params, data)
        faults = []
    except ValidationError as error:
        faults = explain(error, Params, data)
        params = _sound(data, error)
    faults += _dataset_faults(params, data)
    if faults or not stamp.exists():
        # Only the families know their hyperparameters. They need torch, so a valid file is remembered by its hash.
        from pipelines.family_faults import family_faults

        faults += [line for key in params.experiments for line in family_faults(params, key)]
    if faults:
        raise ParamsFaults(sorted(faults, key=_section_order))
    _remember(stamp)
    return params


def _section_order(fault: str) -> int:
    """Where the section that a fault is in comes in the file; stable sorting leaves the rest as it was found."""
    sections, section = list(Params.model_fields), re.split(r"[.:]", fault, maxsplit=1)[0]
    return sections.index(section) if section in sections else len(sections)


def _sound(data: Any, error: ValidationError) -> Params:
    """The file without what is faulty in it, so that what is wrong beyond the schema is told in the same go."""
    faults = [fault["loc"] for fault in error.errors()]

    def rest(section: str, model: type[Section]) -> dict[str, Any]:
        found = {}
        for key, entry in _entries(data, section).items():
            own = [loc[2:] for loc in faults if loc[:2] == (section, key)]
            try:
                found[key] = _strict(model, _without(entry, own))
            except ValidationError:
                continue  # what is left of it says nothing
        return found

    experiments = rest("experiments", ExperimentParams)
    return Params.model_construct(
        datasets=rest("datasets", DatasetParams),
        experiments={key: found for key, found in experiments.items() if found.search.space},
        report=ReportConfig(),
    )


def _without(entry: Any, faults: list[tuple[Any, ...]]) -> Any:
    """A copy of the mapping without the keys at these places; their defaults stand in for them."""
    entry = copy.deepcopy(entry)
    for loc in faults:
        parent = entry
        for part in loc[:-1]:
            parent = parent.get(part) if isinstance(parent, dict) else None
        if loc and isinstance(parent, dict):
            parent.pop(loc[-1], None)
    return entry


def _entries(data: Any, section: str) -> dict[str, Any]:
    """The entries of a section as they are written, none where the section is no mapping."""
    entries = data.get(section) if isinstance(data, dict) else None
    return entries if isinstance(entries, dict) else {}


def _strict(model: type[BaseModel], data: Any) -> Any:
    # JSON mode is strict about scalars and yet takes a list for a tuple, which YAML cannot write.
    return model.model_validate_json(json.dumps(data, default=str), strict=True)


def _dataset_faults(params: Params, data: Any) -> list[str]:
    """What the schema cannot say: names, each kind's own fetch section, references, an empty space."""
    faults = []
    written = _entries(data, "datasets")
    for kind, keys in (("datasets", params.datasets), ("experiments", params.experiments)):
        faults += [
            f"{kind}.{key}: a name holds letters, digits, '-' and '_' only" for key in keys if not NAME.fullmatch(key)
        ]
    for key, dataset in params.datasets.items():
        made = DATASETS[dataset.kind]
        for name, config in (
            ("fetch", made.FetchConfig),
            ("prepare", made.PrepareConfig),
            ("augment", AUGMENTATIONS[made.augmentation].Config),
        ):
            faults += _section_faults(config, getattr(dataset, name), f"datasets.{key}.{name}.")
    for key, experiment in params.experiments.items():
        if written and experiment.dataset not in written:
            close = hint(experiment.dataset, written, "value")
            faults.append(f"experiments.{key}.dataset: no dataset '{experiment.dataset}' in this file; {close}")
        if not experiment.search.space:
            faults.append(f"experiments.{key}.search.space: the search space is empty; name a hyperparameter")
        if experiment.dataset in params.datasets:
            evaluation = EVALUATIONS[params.form(experiment.dataset)]
            faults += _section_faults(evaluation.Config, experiment.evaluate, f"experiments.{key}.evaluate.")
    return faults


def _section_faults(config: type[BaseModel], data: dict[str, Any], prefix: str) -> list[str]:
    """What is wrong with a section whose schema depends on another key."""
    try:
        _strict(config, data)
    except ValidationError as error:
        return explain(error, config, data, prefix)
    return []


def _remember(stamp: Path) -> None:
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    except OSError:
        pass  # only costs the next process the imports; whoever needs to write says what is wrong


def _fingerprint(path: Path) -> str:
    here = Path(__file__).parent
    sources = [*sorted(here.rglob("*.py")), *sorted((here.parent / "lit_models").rglob("*.py"))]
    digest = hashlib.sha256()
    for file in (path, *sources):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def main() -> int:
    """Validate the file that the command names."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.params", description="Validate params.yaml whole.")
    parser.add_argument("file", nargs="?", type=Path, default=FILE, help="default: %(default)s")
    path = parser.parse_args().file
    try:
        load(path)
    except ParamsFaults as error:
        print("\n".join(error.faults), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
