"""Ten seconds of an electroencephalogram, which matplotlib carries: no network needed. Each next row is forecast."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pipelines.datasets.forecast import WindowConfig, write_windows
from pipelines.faults import Fault
from pipelines.formats import series
from pipelines.formats.base import Dataset
from pipelines.section import Section
from pipelines.transport.raw import verified, write_manifest

FILE, CHANNELS, RATE = "eeg.dat", ("PG3", "PG5", "PG7", "PG9"), 80
"""The file, its electrodes, and rows a second."""


class EegFetch(Section):
    """Ten seconds of an electroencephalogram, which matplotlib carries."""


def fetch(config: EegFetch, folder: Path, base: Path) -> None:
    """Copy matplotlib's file byte for byte into `folder`.

    Raises:
        Fault: matplotlib is not installed or no longer carries the file.
    """
    del config, base
    spec = find_spec("matplotlib")  # finds the package without importing it, which takes a second
    if spec is None or not spec.submodule_search_locations:
        raise Fault("matplotlib is not installed, and the EEG comes with it: uv sync")
    source = Path(spec.submodule_search_locations[0]) / "mpl-data" / "sample_data" / FILE
    if not source.is_file():
        raise Fault(f"this matplotlib carries no {FILE} (looked for {source})")
    shutil.copyfile(source, folder / FILE)
    write_manifest(folder)


def prepare(raw: Path, config: WindowConfig, folder: Path) -> str:
    """Write windows (N, length, 4) of all electrodes, and what followed at each (N, 4).

    The file is of float64, little-endian, 4 a row: what the electrodes measured, scaled to unit variance.

    Raises:
        Fault: the file changed or was cut off, holds what is no number, or a part is too short for a window.
    """
    verified(raw)
    path = raw / FILE
    content = path.read_bytes()
    row = 8 * len(CHANNELS)
    if not content or len(content) % row:
        raise Fault(f"{path} is cut off at byte offset {len(content)}: a row has {row} bytes")
    values = np.frombuffer(content, "<f8").reshape(-1, len(CHANNELS))
    if not np.isfinite(values).all():
        raise Fault(f"{path} holds no number at byte offset {8 * int(np.argmin(np.isfinite(values)))}")
    time = {"name": "time (s)", "start": 0.0, "step": 1 / RATE}
    return write_windows(values.astype(np.float32), CHANNELS, len(CHANNELS), time, config, folder)


EEG = Dataset(
    name="eeg",
    form=series.FORM,
    augmentation="series",
    FetchConfig=EegFetch,
    PrepareConfig=WindowConfig,
    fetch=fetch,
    prepare=prepare,
    sketch=lambda fetch, prepare: series.sketch(prepare.length, len(CHANNELS), len(CHANNELS)),
)
