"""Zachary's karate club: 34 members, the 78 friendships between them, and the four groups that these form.

W. Zachary: An Information Flow Model for Conflict and Fission in Small Groups (1977). Groups and task are those of
T. Kipf, M. Welling: Semi-Supervised Classification with Graph Convolutional Networks (2017): one member of each group
is known, and a member is described by nothing but who it is. torch_geometric carries both.
"""

import csv
import warnings
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pipelines.datasets.edge_list import EDGES, LABEL, NODE, NODES, PART, EdgeListPrepare, prepare
from pipelines.formats.base import Dataset, unknown
from pipelines.section import Section
from pipelines.transport.raw import write_manifest

GROUPS = ("group 1", "group 2", "group 3", "group 4")


class KarateFetch(Section):
    """Zachary's karate club, which comes with torch_geometric."""

    known: Literal["hub", "first"] = Field(
        default="hub", description="member of each group to train on: the one with most friends, or the first"
    )


class KaratePrepare(EdgeListPrepare):
    """The section `datasets.<key>.prepare` of the karate club."""

    val: float = Field(default=0.2, gt=0, lt=1, description="fraction for validation, of those not trained on")


def fetch(config: KarateFetch, folder: Path, base: Path) -> None:
    """Write the club as an edge list; members have Zachary's numbers, from 1."""
    del base
    graph = _club()
    ends, groups = graph.edge_index.tolist(), graph.y.tolist()
    known = {_known(config.known, group, groups, ends[0]) for group in set(groups)}
    rows = [[m + 1, GROUPS[group], "train" if m in known else ""] for m, group in enumerate(groups)]
    _write(folder / NODES, [NODE, LABEL, PART], rows)
    _write(folder / EDGES, ["source", "target"], [[a + 1, b + 1] for a, b in zip(*ends, strict=True) if a < b])
    write_manifest(folder)


def _club() -> Any:
    with warnings.catch_warnings():
        # Importing torch_geometric calls torch.jit.script, of whose end torch warns.
        warnings.simplefilter("ignore")
        from torch_geometric.datasets import KarateClub

        return KarateClub()[0]


def _known(which: str, group: int, groups: list[int], ends: list[int]) -> int:
    """Choose a member of a group."""
    members = [member for member, own in enumerate(groups) if own == group]
    return members[0] if which == "first" else max(members, key=lambda member: (ends.count(member), -member))


def _write(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


KARATE = Dataset(
    name="karate",
    form="graph",
    augmentation="none",
    FetchConfig=KarateFetch,
    PrepareConfig=KaratePrepare,
    fetch=fetch,
    prepare=prepare,
    sketch=unknown,
)
