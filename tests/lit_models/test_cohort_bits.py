"""A lane's bits, float32 on one thread, are the same in whatever company of two or more it is trained."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lanes import Lane
from lit_models.cohort.vector_optim import UPDATES
from tests.lit_models.architectures import architectures
from tests.lit_models.cohorts import lanes, setting
from tests.lit_models.samples import FUSED, family_of, form_of, spec_of

FLOAT = torch.float32
# Weight decay of such strength multiplies weights by -99 a step: soon they are no numbers any more.
WILD = {"optimizer": "sgd", "lr": 10.0, "weight_decay": 10.0}


@st.composite
def companies(draw: st.DrawFn, family: str) -> list[Lane]:
    """Lanes of one random architecture with optimizers and tricks of their own."""
    shared = draw(architectures(family_of(family), wide=True))
    each = st.fixed_dictionaries(
        {
            "optimizer": st.sampled_from(list(UPDATES)),
            "dropout": st.sampled_from([0.0, 0.1, 0.4]),
            "augment_strength": st.sampled_from([0.0, 0.5]),
            "gradient_clip": st.sampled_from([0.0, 0.5]),
            "label_smoothing": st.sampled_from([0.0, 0.1]),
        }
    )
    drawn: list[dict[str, Any]] = draw(st.lists(each, min_size=2, max_size=13))
    return lanes(family, [{**shared, **own, "lr": 0.001 * (n + 1)} for n, own in enumerate(drawn)])


@pytest.mark.parametrize("family", FUSED)
# Without shrinking, which would take minutes for each failure.
@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate), print_blob=True)
@given(data=st.data())
def test_company_changes_no_bit(family: str, data: st.DataObject) -> None:
    """Other rows, by trial numbers that go round; a neighbour that diverges; neighbours that are let go."""
    cohort = data.draw(companies(family))
    count = len(cohort)
    if cohort[0].config.problem(spec_of(form_of(family))):
        return
    turn = data.draw(st.integers(0, count - 1), "turn")
    kept = data.draw(st.sets(st.integers(0, count - 1), min_size=1), "kept")
    wild = data.draw(st.sampled_from([None, *range(count)]), "wild")
    other = [replace(lane, trial=(lane.trial + turn) % count) for lane in cohort]
    kept -= {wild}
    assume(kept)
    if wild is not None:
        other[wild] = replace(other[wild], config=other[wild].config.model_copy(update=WILD))
    calm, stirred = FusedEngine(cohort, setting(family, FLOAT)), FusedEngine(other, setting(family, FLOAT))
    for epoch in range(2):
        calm.run_epoch(epoch)
        stirred.run_epoch(epoch)
    stirred.keep({(trial + turn) % count for trial in kept})
    figures, ours = calm.run_epoch(2), stirred.run_epoch(2)
    for trial in kept:
        there = (trial + turn) % count
        assert ours[there] == figures[trial]
        weights = calm.export_lane(trial)
        assert all(torch.equal(weights[name], value) for name, value in stirred.export_lane(there).items())


def test_the_wild_lane_is_wild() -> None:
    for family in FUSED:
        engine = FusedEngine(lanes(family, [{}, WILD]), setting(family, FLOAT))
        losses = [engine.run_epoch(epoch)[1].train_loss for epoch in range(2)]
        assert not losses[-1] <= 1e6


def test_importing_lit_models_makes_products_repeatable(environment: Callable[[], dict[str, str]]) -> None:
    """In a process that nobody has told to: MKL looks only once."""
    code = (
        "import lit_models, os, torch; torch.set_num_threads(1); print(os.environ['MKL_CBWR'])\n"
        "x, w = torch.randn(17, 8, 33), torch.randn(17, 33, 33)\n"
        "rows = [3, 12]; assert torch.equal((x @ w)[rows], x[rows] @ w[rows])"
    )
    env = {name: value for name, value in environment().items() if name != "MKL_CBWR"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "AUTO"), result.stderr
