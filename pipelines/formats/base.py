"""What every kind of dataset is made of: configurations, the raw bytes that it fetches, what it makes of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from pipelines.section import Section

if TYPE_CHECKING:
    from lit_models.specs.base import DataSpec

Checksum = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")]
"""`sha256:` or `md5:` and the digest in small hexadecimal digits."""


class SplitConfig(Section):
    """What every section `datasets.<key>.prepare` has: how examples become training, validation and test parts."""

    seed: int = Field(default=0, ge=0, lt=2**32, description="seed of the split")
    val: float = Field(
        default=0.15, gt=0, lt=1, description="fraction for validation, of what is not an official test set"
    )
    test: float = Field(default=0.15, gt=0, lt=1, description="fraction for testing; unused with an official test set")

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(
                f"val + test is {self.val + self.test:g}; it must be below 1, or nothing is left to train on"
            )
        return self


Fetch = TypeVar("Fetch", bound=BaseModel)
Prepare = TypeVar("Prepare", bound=BaseModel)


@dataclass(frozen=True)
class Dataset(Generic[Fetch, Prepare]):
    """One kind of dataset: two functions and their configurations.

    Attributes:
        name: the kind, as params.yaml writes it.
        form: of the prepared data, as in lit_models/forms.py.
        augmentation: a name in pipelines/augmentations/__init__.py.
        FetchConfig: where the raw bytes come from.
        PrepareConfig: what is made of them.
        fetch: `fetch(config, folder, base)` writes raw bytes and `manifest.json` into the empty `folder`;
            relative paths in `config` count from `base`. Raises Fault.
        prepare: `prepare(raw, config, folder)` checks what `fetch` wrote, and writes `card.json` and the parts `train`,
            `val` and `test` into the empty `folder`; returns what it did, in a few words. Raises Fault naming
            the file, and the line or byte where there is one.
        sketch: `sketch(fetch, prepare)` is what is known of the prepared data beforehand; None if only they say.
    """

    name: str
    form: str
    augmentation: str
    FetchConfig: type[Fetch]
    PrepareConfig: type[Prepare]
    fetch: Callable[[Fetch, Path, Path], None]
    prepare: Callable[[Path, Prepare, Path], str]
    sketch: Callable[[Fetch, Prepare], "DataSpec | None"]


def unknown(fetch: Any, prepare: Any) -> None:
    """The `sketch` of a dataset of which only the data say anything."""
    del fetch, prepare
