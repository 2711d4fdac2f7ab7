"""The weights that a search's winner ended with, picked out of its cohort's file without torch."""

import json
from pathlib import Path

from pipelines.search_state import header


def save_winner(cohorts: Path, trial: int, target: Path) -> bool:
    """Write the state_dict of `trial` as safetensors; False if no cohort kept it.

    A cohort keeps the weights of the best of its trials that ran to the end.
    """
    for path in cohorts.glob("*.done.safetensors"):
        prefix = f"{trial}."
        if str(trial) in json.loads(header(path)["record"])["lanes"]:
            return _extract(path, prefix, target)
    return False


def _extract(path: Path, prefix: str, target: Path) -> bool:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, framework="numpy") as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
        if names:
            target.touch()  # with the permissions of other files, which safetensors does not give
            save_file({name.removeprefix(prefix): file.get_tensor(name) for name in names}, target)
    return bool(names)
