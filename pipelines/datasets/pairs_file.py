"""A person's own pairs of sentences: a TSV file with a source, a tab and a target on each line."""

from pathlib import Path

from pydantic import Field

from pipelines.datasets.parts import own
from pipelines.faults import Fault
from pipelines.formats.base import Dataset, unknown
from pipelines.formats.pairs import HELD_OUT, PAIRS, PairsPrepare, prepare, read_pairs
from pipelines.section import Section
from pipelines.transport.raw import write_manifest
from pipelines.transport.sources import public


class PairsFileFetch(Section):
    """A TSV file of your own: on each line a source, a tab, a target; UTF-8, no header."""

    path: str = Field(
        min_length=1,
        description="local (`~` is filled in, a relative path counts from params.yaml), http(s)://, s3:// or gs://",
    )
    held_out: str | None = Field(
        default=None, min_length=1, description="a second file, of pairs to be tested on apart, such as longer ones"
    )


def fetch(config: PairsFileFetch, folder: Path, base: Path) -> None:
    """Copy the file to `pairs.tsv`, and the second, if there is one, to `held_out.tsv`, and look at every line.

    Raises:
        Fault: a file does not exist or cannot be reached, or a line of it is no pair.
    """
    for path, name in ((config.path, PAIRS), (config.held_out, HELD_OUT)):
        if path is not None:
            own.copy(path, base, folder / name)
            _look(folder / name, public(path))
    write_manifest(folder)


def _look(copied: Path, name: str) -> None:
    """Read a file for its faults, and tell them by the name that its owner knows."""
    try:
        read_pairs(copied)
    except Fault as fault:
        raise Fault(str(fault).replace(str(copied), name)) from None


PAIRS_FILE = Dataset("pairs_file", "pairs", "pairs", PairsFileFetch, PairsPrepare, fetch, prepare, unknown)
