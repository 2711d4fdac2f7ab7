"""Measures fused training against one trial at a time on the same device; needs torch, Lightning and pydantic.

    python -m lit_models.cohort.bench                     # on the GPU, or on the CPU where there is none
    python -m lit_models.cohort.bench --quick             # in under ten minutes on a GPU
    python -m lit_models.cohort.bench --networks lstm,resnet-32 --lanes 16,64 --markdown

Figures are lane-samples per second: samples of all lanes together, validation's time included. One trial at a time is
measured twice, in turns with the fused engine: by the lone engine with one lane, and by the loop that a person would
write with torch's own layers; a row's ratio is against the faster of the two. The figure to reach is the best that Wang
et al. (Horizontally Fused Training Array, 2021) report. The thresholds in cost.py come from this table.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lit_models.cohort import bench_timing as timing
from lit_models.cohort.bench_networks import CASES, USUAL

LANES = (1, 4, 16, 64, 256)
HFTA_BEST = 15.1
# What a full and a quick run measure.
SIZES: dict[str, tuple[Any, Any]] = {
    "lanes": (LANES, (1, 16, 64, 256)),
    "steps": (20, 10),
    "rounds": (5, 3),
    "seconds": (0.5, 0.1),
    "minutes": (float("inf"), 7.0),
}
# How the fused engine's steps get to the device: kernel by kernel, as CUDA graphs, through torch.compile.
MODES = {"cpu": ("eager", "compiled"), "cuda": ("graphs", "eager", "compiled")}
# A quick run has all but the first of them for one number of lanes alone: at most this.
QUICK_LANES = 64
CONTENDERS = ("lone", "plain", "fused")
HEAD = ("network", "MFLOP a kernel", "precision", "mode", "lanes", "lone engine", "plain loop", "fused", "ratio", "")
NONE = "—"


@dataclass(frozen=True)
class Cell:
    """One row of the table, before it is measured."""

    network: str
    precision: str
    mode: str
    lanes: int


@dataclass(frozen=True)
class Row:
    """One row of the table: what came of each contender, and why there is none, if so."""

    cell: Cell
    results: dict[str, timing.Timed]
    skipped: str = ""

    def rate(self, name: str) -> float:
        """Lane-samples per second; 0 if not measured."""
        return self.results[name].rate if name in self.results else 0.0

    @property
    def alone(self) -> float:
        """The faster way to train one trial at a time."""
        return max(self.rate("lone"), self.rate("plain"))

    def texts(self) -> tuple[str, ...]:
        """As the table has it."""
        cell, work = self.cell, timing.cost_of(CASES[self.cell.network]).flops_per_kernel / 1e6
        figures = [f"{self.rate(name):,.0f}" if self.rate(name) else NONE for name in CONTENDERS]
        ratio = f"{self.rate('fused') / self.alone:.2f}x" if self.alone and self.rate("fused") else NONE
        faults = [f"{name}: {result.fault}" for name, result in self.results.items() if result.fault]
        notes = "; ".join(faults + ([f"skipped: {self.skipped}"] if self.skipped else []))
        return (cell.network, f"{work:.2g}", cell.precision, cell.mode, str(cell.lanes), *figures, ratio, notes)


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """List what is measured: what costs least time first."""
    few = [lanes for lanes in options.lanes if lanes <= QUICK_LANES] or options.lanes
    for mode in options.modes:
        for precision in options.precisions:
            for network in options.networks:
                for lanes in [max(few)] if options.quick and mode != MODES[options.device][0] else options.lanes:
                    yield Cell(network, precision, mode, lanes)


def measure(cell: Cell, options: argparse.Namespace) -> Row:
    """Measure one row; what memory is too small for is left out, and the row says so."""
    case = CASES[cell.network]
    if reason := timing.too_large(timing.cost_of(case), cell.lanes, options.device):
        return Row(cell, {}, reason)
    size = timing.lane_configs(case, 1, cell.precision)[0].batch_size * options.steps
    data = timing.noise(case, size, torch.device(options.device))
    contenders: dict[str, Callable[[], timing.Epoch]] = {
        "lone": lambda: timing.lone(case, data, cell.precision),
        "plain": lambda: timing.plain(case, data, cell.precision, cell.mode == "compiled"),
    }
    if cell.lanes > 1:
        contenders["fused"] = lambda: timing.fused(case, cell.lanes, data, cell.precision, cell.mode)
    samples = {"lone": size, "plain": size, "fused": size * cell.lanes}
    return Row(cell, timing.rates(contenders, samples, options.rounds, options.seconds))


def table(rows: Sequence[Row], markdown: bool) -> str:
    """Lay the rows out, network by network."""
    order = list(CASES)
    texts = [HEAD, *(row.texts() for row in sorted(rows, key=lambda row: order.index(row.cell.network)))]
    if markdown:
        lines = [f"| {' | '.join(row)} |" for row in texts]
        return "\n".join([lines[0], f"|{' --- |' * len(HEAD)}", *lines[1:]])
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return "\n".join("  ".join(map(_aligned, row, widths, range(len(HEAD)))).rstrip() for row in texts)


def _aligned(text: str, width: int, column: int) -> str:
    """Numbers stand to the right, names to the left."""
    return text.ljust(width) if column in (0, 2, 3, len(HEAD) - 1) else text.rjust(width)


def verdict(rows: Sequence[Row]) -> str:
    """Name the two networks with the best ratios, beside the figure to reach.

    A network's ratio is its fastest fused row over its fastest training of one trial at a time, in whatever rows: no
    one would train one at a time in a mode or a precision that is slower.
    """
    ratios = {}
    for network in CASES:
        own = [row for row in rows if row.cell.network == network]
        best, alone = (
            max(own, key=lambda row: row.rate("fused"), default=None),
            max((row.alone for row in own), default=0),
        )
        if best and alone and best.rate("fused"):
            cell = best.cell
            how = f"{network} ({cell.lanes} lanes, {cell.precision}, {cell.mode})"
            ratios[how] = best.rate("fused") / alone
    order = sorted(ratios, key=lambda how: -ratios[how])
    texts = ", ".join(f"{ratios[how]:.1f}x for {how}" for how in order[:2]) or "none"
    reached = sum(ratio >= HFTA_BEST for ratio in ratios.values())
    return (
        f"best ratios, fastest fused over fastest alone: {texts}; "
        f"HFTA's best is {HFTA_BEST}x (Wang et al. 2021): reached by {reached} of {len(ratios)} networks"
    )


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if wrong := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{wrong[0]} is none of {', '.join(known)}")
        return names

    return parse


def _lanes(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError("lanes count from 1")
    return numbers


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lit_models.cohort.bench",
        description="Fused training against one trial at a time on the same device.",
    )
    networks, precisions = list(CASES), ["32", "bf16"]
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="fewer rows, steps and rounds; none begun after 7 minutes")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--networks", type=_names(networks), default=USUAL, help=",".join(networks))
    parser.add_argument("--precisions", type=_names(precisions), default=precisions, help=",".join(precisions))
    parser.add_argument("--modes", type=_names(MODES["cuda"]), help=",".join(MODES["cuda"]))
    parser.add_argument("--lanes", type=_lanes, help=",".join(map(str, LANES)))
    parser.add_argument("--steps", type=int, help="of 64 samples, in an epoch")
    parser.add_argument("--rounds", type=int, help="turns of each contender")
    parser.add_argument("--seconds", type=float, help="that a turn lasts at least")
    parser.add_argument("--minutes", type=float, help="begin no row after so many")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; --device cpu measures the CPU")
    for name, (full, quick) in SIZES.items():
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    options.modes = options.modes or list(MODES[options.device])
    if options.device == "cpu" and "graphs" in options.modes:
        parser.error("there are no CUDA graphs on a CPU")
    return options


def main() -> int:
    """Measure and print."""
    options = arguments()
    torch.set_num_threads(options.threads)
    began, rows = time.monotonic(), []
    for cell in cells(options):
        if time.monotonic() - began > 60 * options.minutes:
            rows.append(Row(cell, {}, "no time left"))
            continue
        rows.append(measure(cell, options))
        print("  ".join(rows[-1].texts()), file=sys.stderr, flush=True)
        timing.release()
    print(timing.machine(options.device))
    print(f"lane-samples per second; an epoch has {options.steps} steps of 64 samples, and 64 to validate\n")
    print(table(rows, options.markdown))
    print(f"\n{verdict(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
