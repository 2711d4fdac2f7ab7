"""Random architectures of every family: from a table where it has an entry, from the fields of its Config where not."""

from typing import Any, Literal, get_args, get_origin

from hypothesis import assume
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from lit_models import FAMILIES, FamilyConfig

Fields = dict[str, st.SearchStrategy[Any]]

SMALL: dict[str, Fields] = {
    "mlp": {
        "hidden": st.integers(1, 8),
        "depth": st.integers(1, 4),
        "activation": st.sampled_from(["relu", "gelu", "tanh"]),
        "batch_norm": st.booleans(),
    },
    "cnn": {
        "channels1": st.integers(1, 4),
        "channels2": st.integers(1, 4),
        "hidden1": st.integers(1, 8),
        "kernel_size": st.sampled_from([3, 5, 7]),
        "pool": st.sampled_from(["max", "avg"]),
        "batch_norm": st.booleans(),
    },
    "resnet": {
        "width": st.integers(1, 3),
        "stages": st.integers(1, 5),
        "blocks": st.integers(1, 2),
        "skip": st.booleans(),
    },
}
# Wide enough that vectors are filled, and end at odd places.
WIDE: dict[str, Fields] = {
    "mlp": {"hidden": st.integers(1, 70), "depth": st.integers(1, 3)},
    "cnn": {
        "channels1": st.integers(1, 9),
        "channels2": st.integers(1, 17),
        "hidden1": st.integers(1, 40),
        "hidden2": st.integers(1, 40),
    },
    "resnet": {"width": st.integers(1, 9), "stages": st.integers(1, 4), "blocks": st.just(1)},
}


def from_fields(kind: type[FamilyConfig]) -> Fields:
    """Values of the fields that a family adds: small numbers, every choice; floats keep their defaults."""
    own = {name: field for name, field in kind.model_fields.items() if name not in FamilyConfig.model_fields}
    return {name: found for name, field in own.items() if (found := _values(field)) is not None}


def _values(field: FieldInfo) -> st.SearchStrategy[Any] | None:
    if field.annotation is bool:
        return st.booleans()
    if get_origin(field.annotation) is Literal:
        return st.sampled_from(get_args(field.annotation))
    if field.annotation is not int:
        return None
    least, most = (next((getattr(m, n) for m in field.metadata if hasattr(m, n)), None) for n in ("ge", "le"))
    first = field.default if least is None else least
    return st.integers(first, first + 2 if most is None else min(most, first + 2))


@st.composite
def architectures(draw: st.DrawFn, family: str, wide: bool = False) -> dict[str, Any]:
    """Draw what a family's Config takes beside what all families have; only what it accepts."""
    kind = FAMILIES[family].Config
    fields = SMALL.get(family) or from_fields(kind)
    values = {name: draw(strategy) for name, strategy in {**fields, **(WIDE.get(family, {}) if wide else {})}.items()}
    try:
        kind(**values)
    except ValidationError:
        assume(False)
    return values
