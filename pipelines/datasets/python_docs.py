"""English that every Python carries: the topics that `help()` explains, from the language reference.

Which topics there are, and what they say, depends on the version of Python.
"""

from pathlib import Path

from pipelines.faults import Fault
from pipelines.formats.base import Dataset
from pipelines.formats.tables import text
from pipelines.formats.text import Document, TextPrepareConfig, prepare_text, sketch
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

SUFFIX = ".txt"


class PythonDocsFetch(Section):
    """The documentation topics of the Python that runs this."""


def fetch(config: PythonDocsFetch, folder: Path, base: Path) -> None:
    """Write each topic into a file of its own.

    Raises:
        Fault: this Python comes without its topics.
    """
    del config, base
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise Fault("this Python comes without pydoc_data, where the documentation topics are") from None
    for name, content in sorted(topics.items()):
        (folder / f"{name}{SUFFIX}").write_bytes(content.encode())
    write_manifest(folder)


def prepare(raw: Path, config: TextPrepareConfig, folder: Path) -> str:
    """Make windows of tokens; which topics are for training, validation and testing, `seed` decides.

    Raises:
        Fault: a file changed since it was fetched, or there is too little text.
    """
    documents = [Document(name.removesuffix(SUFFIX), text(raw / name)) for name in verified(raw)]
    return prepare_text(documents, config, folder)


PYTHON_DOCS = Dataset("python_docs", "text", "none", PythonDocsFetch, TextPrepareConfig, fetch, prepare, sketch)
