"""The benchmark of cohorts: it runs on torch and Lightning alone, trains the same networks in all ways, and adds up."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lit_models.cohort import bench, bench_timing
from lit_models.cohort.bench import Cell, Row
from lit_models.cohort.bench_networks import CASES
from lit_models.cohort.bench_timing import Timed
from lit_models.cohort.engine import Setting
from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lanes import Lane
from lit_models.cohort.lone import LoneEngine
from tests.lit_models.cohorts import difference

# What a machine with torch, Lightning and pydantic may lack; `None` makes an import fail.
ALONE = """
import sys
for name in ("ray", "mlflow", "dvc", "pandas", "pyarrow", "sklearn", "gymnasium", "torch_geometric",
             "tokenizers", "sacrebleu", "pipelines", "infra"):
    sys.modules[name] = None
import lit_models.cohort.bench, lit_models.cohort.run
"""


def test_cohorts_and_their_benchmark_need_neither_the_pipeline_nor_its_libraries(
    environment: Callable[[], dict[str, str]],
) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_it_prints_one_table(run_module: Any) -> None:
    few = ("--networks", "digits-cnn,lstm", "--lanes", "1,2", "--precisions", "32", "--modes", "eager")
    short = ("--steps", "1", "--rounds", "1", "--seconds", "0")
    done = run_module("lit_models.cohort.bench", "--device", "cpu", "--quick", *few, *short)
    assert done.returncode == 0, done.stderr
    head, unit, _, columns, *rows, _, last = done.stdout.splitlines()
    assert f"torch {torch.__version__}, 1 CPU thread(s)" in head
    assert unit.startswith("lane-samples per second")
    assert columns.split()[:4] == ["network", "MFLOP", "a", "kernel"]
    assert [row.split()[0] for row in rows] == ["digits-cnn", "digits-cnn", "lstm", "lstm"]
    # One lane: both ways to train alone. Two: the fused engine beside them, and a ratio.
    assert all(row.split()[7:] == ["—", "—"] for row in rows[::2])
    assert all(row.split()[8].endswith("x") for row in rows[1::2])
    assert "of 2 networks" in last


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_networks_for_sequences_are_the_same_fused_and_alone(name: str) -> None:
    case = CASES[name]
    data = bench_timing.noise(case, 16, torch.device("cpu"))
    setting = Setting(case.family, data, 1, dtype=torch.float64)
    shared = {"width": 8, "heads": 2, "batch_size": 8}
    cohort = [Lane(n, case.family.Config(lr=0.001 * (n + 1), dropout=0.1 * n, **shared), n) for n in range(3)]
    fused, lone = FusedEngine(cohort, setting), LoneEngine(cohort, setting)
    ours, theirs = fused.run_epoch(0), lone.run_epoch(0)
    assert all(ours[n].val_loss == pytest.approx(theirs[n].val_loss, rel=1e-8) for n in range(3))
    assert max(difference(fused, lone, n) for n in range(3)) < 1e-8


@pytest.mark.parametrize("name", CASES)
def test_what_a_person_would_write_is_as_large(name: str) -> None:
    case = CASES[name]
    model = case.family(case.family.Config(dropout=0.1), case.spec)
    ours = sum(p.numel() for p in model.network.parameters())
    plain = case.plain(model)
    # Torch's own recurrent and attention layers have some biases more.
    assert ours <= sum(p.numel() for p in plain.parameters()) <= 1.03 * ours
    assert not any(type(module).__module__ == "lit_models.core.layers" for module in plain.modules())
    x = torch.rand(2, *case.shape)
    assert plain(x).shape == (2, 10)


def row(network: str, lanes: int, lone: float, plain: float, fused: float, precision: str = "32") -> Row:
    rates = {"lone": Timed(lone), "plain": Timed(plain), "fused": Timed(fused)}
    return Row(Cell(network, precision, "eager", lanes), rates)


def test_the_verdict_is_against_the_fastest_way_to_train_one_at_a_time() -> None:
    rows = [
        row("lstm", 64, 10, 20, 400),
        row("lstm", 64, 5, 4, 100, "bf16"),  # 20x, but who would train one at a time so?
        row("cnn-32", 16, 10, 10, 100),
        row("digits-cnn", 4, 10, 8, 30),
        Row(Cell("transformer", "32", "eager", 256), {"lone": Timed(3.0), "fused": Timed(fault="out of memory")}),
        Row(Cell("resnet-32", "32", "eager", 256), {}, "no time left"),
    ]
    said = bench.verdict(rows)
    assert "20.0x for lstm (64 lanes, 32, eager), 10.0x for cnn-32 (16 lanes, 32, eager)" in said
    assert "15.1x (Wang et al. 2021): reached by 1 of 3 networks" in said
    assert "none" in bench.verdict([])
    text = bench.table(rows, markdown=True)
    assert text.splitlines()[1] == "|" + " --- |" * 10
    assert "fused: out of memory" in text
    assert "skipped: no time left" in text
    assert [line.split(" | ")[0] for line in text.splitlines()[2:4]] == ["| digits-cnn", "| cnn-32"]


def test_memory_that_is_too_little_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "GB" in bench_timing.too_large(bench_timing.cost_of(CASES["resnet-32"]), 10**6, "cpu")
    assert bench_timing.too_large(bench_timing.cost_of(CASES["resnet-32"]), 10**6, "cuda") == ""

    def greedy() -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GB")

    results = bench_timing.rates({"one": lambda: lambda _: None, "two": greedy}, {"one": 64, "two": 64}, 1, 0)
    assert results["one"].rate > 0
    assert results["two"] == Timed(fault="out of memory")


@pytest.mark.parametrize("wrong", [["--lanes", "0,4"], ["--networks", "gpt"], ["--modes", "jit"], ["--lanes", "many"]])
def test_wrong_words_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.arguments(wrong)
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.arguments(["--device", "cuda"])
    assert "torch finds no GPU here" in capsys.readouterr().err


def test_graphs_on_a_cpu_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.arguments(["--device", "cpu", "--modes", "eager,graphs"])
    assert "no CUDA graphs on a CPU" in capsys.readouterr().err


def test_a_quick_run_compiles_for_one_number_of_lanes() -> None:
    cells = list(bench.cells(bench.arguments(["--device", "cpu", "--quick"])))
    assert {cell.lanes for cell in cells if cell.mode == "compiled"} == {64}
    assert {cell.lanes for cell in cells if cell.mode == "eager"} == {1, 16, 64, 256}
    assert len(list(bench.cells(bench.arguments(["--device", "cpu"])))) == 5 * 5 * 4
