"""A person's own text: a file, or a folder of .txt files, each a document."""

from pathlib import Path

from pydantic import Field

from pipelines.datasets.parts import own
from pipelines.faults import Fault
from pipelines.formats.base import Dataset
from pipelines.formats.tables import text
from pipelines.formats.text import Document, TextPrepareConfig, prepare_text, sketch
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

TEXTS, SUFFIX = "texts", ".txt"
"""What the person's folder is called inside the raw folder, and how its files end."""


class TextFilesFetch(Section):
    """Text of your own, in UTF-8."""

    path: str = Field(
        min_length=1,
        description="a file or a folder of .txt files: local (relative paths count from params.yaml), s3:// or gs://",
    )


def fetch(config: TextFilesFetch, folder: Path, base: Path) -> None:
    """Copy every file as it is; hidden ones are left out.

    Raises:
        Fault: there is no such file or folder, or a file in it is no .txt; it is named.
    """
    own.copy(config.path, base, folder / TEXTS, (SUFFIX,))
    if (folder / TEXTS).is_file():
        (folder / TEXTS).rename(folder / f"{TEXTS}{SUFFIX}")
    write_manifest(folder)


def prepare(raw: Path, config: TextPrepareConfig, folder: Path) -> str:
    """Make windows of tokens; whole files are for training, validation or testing.

    Raises:
        Fault: a file is empty, is not UTF-8 all through, or changed since it was fetched; it is named, with the line.
            Or there is too little text.
    """
    documents = []
    for name in verified(raw):
        content = text(raw / name)
        if not content.strip():
            raise Fault(f"{raw / name} is empty: there is no text in it; take it out")
        documents.append(Document(name.removeprefix(f"{TEXTS}/").removesuffix(SUFFIX), content))
    return prepare_text(documents, config, folder)


TEXT_FILES = Dataset("text_files", "text", "none", TextFilesFetch, TextPrepareConfig, fetch, prepare, sketch)
