"""A lane: one trial among those that are trained side by side; and what lanes of one cohort may differ in."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_models.core.base import FamilyConfig, LitModel
from lit_models.specs.base import DataSpec


@dataclass(frozen=True)
class Lane:
    """One trial.

    Attributes:
        trial: its number in the search, which names it wherever it runs.
        config: its hyperparameters.
        seed: of its weights, batches, dropout, augmentation and mixing.
    """

    trial: int
    config: FamilyConfig
    seed: int


def is_lanewise(config: type[FamilyConfig], name: str) -> bool:
    """Whether lanes of one cohort may differ in this hyperparameter: every float, and what the config names."""
    return name in config.LANEWISE or config.model_fields[name].annotation is float


def shaping(family: type[LitModel], configs: Sequence[FamilyConfig], spec: DataSpec) -> frozenset[str]:
    """Find the floats in which these configurations differ and that change shapes (the factor of a width, say).

    Each is looked at by its least and its largest value; the networks are built on torch's meta device.
    """

    def shapes(name: str, value: float) -> list[tuple[str, torch.Size, torch.dtype]]:
        config = configs[0].model_copy(update={"init": "default", name: value})
        return [
            (path, tensor.shape, tensor.dtype) for path, tensor in family(config, spec).network.state_dict().items()
        ]

    found = set()
    with torch.device("meta"):
        for name, field in type(configs[0]).model_fields.items():
            values = {getattr(config, name) for config in configs} if field.annotation is float else set()
            if len(values) > 1 and shapes(name, min(values)) != shapes(name, max(values)):
                found.add(name)
    return frozenset(found)


def signature(family: str, config: FamilyConfig, shapes: Collection[str] = ()) -> str:
    """Return what the lanes of a cohort have in common, as 12 hex digits.

    Two configurations have the same signature if all hyperparameters are equal that lanes may not differ in; then
    parameters have the same shapes and types, and batches the same size and order policy.

    Args:
        family: its name.
        config: of one lane.
        shapes: floats that change shapes after all, see `shaping`.
    """
    shared = {name: value for name, value in config if name in shapes or not is_lanewise(type(config), name)}
    text = json.dumps([family, shared], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class LaneValues:
    """The numbers that the lanes of a cohort do not share, as vectors (K,).

    Which they are is settled once, by the models that the cohort begins with: a number that became a vector stays
    one when the lanes that differed in it are gone, for a scalar would be rounded otherwise.

    Attributes:
        config: by the hyperparameter's name.
        attributes: by the path of the module and the attribute's name, (`3`, `p`).

    Args:
        models: one a lane.
        probe: one more that differs in what lanes may come to differ in later.

    Raises:
        ValueError: the models differ in something that is no float, so they cannot be trained as one.
    """

    def __init__(self, models: Sequence[LitModel], probe: LitModel | None = None) -> None:
        everyone = [*models, *([probe] if probe else [])]
        like = models[0].anchor.detach()
        self.config = {
            name: like.new_tensor([getattr(model.config, name) for model in models])
            for name, value in models[0].config
            if isinstance(value, float) and len({getattr(model.config, name) for model in everyone}) > 1
        }
        self.attributes = {
            (path, name): like.new_tensor([getattr(model.network.get_submodule(path), name) for model in models])
            for path, name in _differing([model.network for model in everyone])
        }

    def select(self, rows: Tensor) -> None:
        """Keep only these rows (int64), in this order."""
        self.config = {name: column[rows] for name, column in self.config.items()}
        self.attributes = {place: column[rows] for place, column in self.attributes.items()}

    def replace(self, row: int, model: LitModel) -> None:
        """Take up the values of another model for a row."""
        for name, column in self.config.items():
            column[row] = getattr(model.config, name)
        for (path, name), column in self.attributes.items():
            column[row] = getattr(model.network.get_submodule(path), name)


def _differing(networks: Sequence[nn.Module]) -> Iterator[tuple[str, str]]:
    """Yield module path and name of each float attribute in which the networks differ.

    Raises:
        ValueError: they differ in their layers, or in an attribute that is no float.
    """
    modules = [dict(network.named_modules()) for network in networks]
    for path, module in modules[0].items():
        if any(path not in other or type(other[path]) is not type(module) for other in modules):
            raise ValueError(f"lanes differ in their layer {path}")
        for name, value in vars(module).items():
            if not isinstance(value, bool | int | float | str | tuple):
                continue
            if len({vars(other[path]).get(name) for other in modules}) == 1:
                continue
            if not isinstance(value, float):
                raise ValueError(f"lanes differ in {name} of their layer {path}")
            yield path, name


class LaneLosses(nn.Module):
    """A LitModel that stands for any lane of its cohort: `torch.func.functional_call` gives it a lane's weights.

    Args:
        model: one lane's; only its structure and what all lanes share are used.
    """

    def __init__(self, model: LitModel) -> None:
        super().__init__()
        self.model = model
        self._modules_by_path = dict(model.network.named_modules())

    def forward(
        self, values: dict[str, Tensor], attributes: dict[tuple[str, str], Tensor], step: str, *inputs: object
    ) -> Tensor:
        """Call the model's method named `step` with a lane's values in place of the template's."""
        model, own = self.model, self.model.config
        kept = {place: getattr(self._modules_by_path[place[0]], place[1]) for place in attributes}
        try:
            # Only while the lanes are run, and never validated: the fields hold tensors.
            model.config = own.model_copy(update=values)
            for (path, name), value in attributes.items():
                setattr(self._modules_by_path[path], name, value)
            result: Tensor = getattr(model, step)(*inputs)
            return result
        finally:
            model.config = own
            for (path, name), value in kept.items():
                setattr(self._modules_by_path[path], name, value)
