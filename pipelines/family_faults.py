"""What is wrong with an experiment's hyperparameters: the part of validation that needs the model families."""

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipelines.datasets import DATASETS
from pipelines.explain import explain
from pipelines.nearest import hint

if TYPE_CHECKING:
    from pipelines.params import Params
    from pipelines.searching.space import Space

CORNERS = 256


def family_faults(params: "Params", key: str) -> Iterator[str]:
    """Yield one line per fault in `experiments.<key>.model` and `.search.space`."""
    from lit_models import FAMILIES

    experiment = params.experiments[key]
    where = f"experiments.{key}"
    if experiment.family not in FAMILIES:
        yield f"{where}.family: unknown value '{experiment.family}'; {hint(experiment.family, FAMILIES, 'value')}"
        return
    family = FAMILIES[experiment.family]
    faults = list(_hyperparameter_faults(params, key, family.Config))
    yield from faults
    if experiment.dataset in params.datasets and (form := params.form(experiment.dataset)) not in family.FORMS:
        those = ", ".join(name for name, other in FAMILIES.items() if form in other.FORMS)
        what = f"'{experiment.family}' does not take data of the form {form}, as '{experiment.dataset}' is"
        yield f"{where}.family: {what}; families that do: {those}"
        return
    if not faults and experiment.dataset in params.datasets and (problem := _corner_fault(params, key)):
        yield f"{where}.model: {problem}"


def _hyperparameter_faults(params: "Params", key: str, config_class: Any) -> Iterator[str]:
    experiment = params.experiments[key]
    where = f"experiments.{key}"
    try:
        params.family_config(key, {})
    except ValidationError as error:
        yield from explain(error, config_class, experiment.model, f"{where}.model.")
    for name, domain in experiment.search.space.items():
        path = f"{where}.search.space.{name}"
        if name not in config_class.model_fields:
            close = hint(name, config_class.model_fields, "key")
            yield f"{path}: family '{experiment.family}' has no such hyperparameter; {close}"
            continue
        if name in experiment.model:
            yield f"{path}: stands in {where}.model too, which the search would override; keep one"
        if experiment.search.algorithm == "grid" and domain.choice is None:
            yield f"{path}: a grid needs values; write {{choice: [...]}} instead of {domain.kind}"
        for value in domain.probes:
            try:
                config_class.__pydantic_validator__.validate_assignment(config_class.model_construct(), name, value)
            except ValidationError as error:
                bad = [e for e in explain(error, config_class, {}, f"{where}.search.space.") if e.startswith(path)]
                yield from (f"{line} (in its {domain.kind})" for line in bad)


def _corner_fault(params: "Params", key: str) -> str | None:
    """Build the config in the corners of the space, and see whether the data are such as its network can take."""
    experiment = params.experiments[key]
    dataset = experiment.dataset
    try:
        configs = params.fetch_config(dataset), params.prepare_config(dataset)
    except ValidationError:
        return None  # told already
    spec = DATASETS[params.datasets[dataset].kind].sketch(*configs)

    def problem(drawn: dict[str, Any]) -> str | None:
        try:
            config = params.family_config(key, drawn)
        except ValidationError as error:
            return explain(error, type(params), {}, "")[0].partition(": ")[2]
        return config.problem(spec) if spec else None

    for corner in _corners(experiment.search.space):
        found = problem(corner)
        if found is None:
            continue
        for name in list(corner):  # what the problem does without is not to blame
            rest = {other: value for other, value in corner.items() if other != name}
            corner = rest if problem(rest) == found else corner
        drawn = ", ".join(f"{name}: {value}" for name, value in corner.items())
        return f"{found} (with {drawn} from the search space)" if drawn else found
    return None


def _corners(space: "Space") -> Iterator[dict[str, Any]]:
    """Every combination of choices and of both ends of ranges; each value by itself where those are too many."""
    names = list(space)
    if math.prod(len(space[name].probes) for name in names) <= CORNERS:
        for values in itertools.product(*(space[name].probes for name in names)):
            yield dict(zip(names, values, strict=True))
    else:
        yield from ({name: value} for name in names for value in space[name].probes)
