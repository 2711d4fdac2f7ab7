"""Families of sequences: padding changes nothing, layers are torch's own, and each does what it is there for."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lit_models.cohort.fused import FusedEngine
from lit_models.cohort.lone import LoneEngine
from lit_models.cohort.stacked_layers import StackedLayers
from lit_models.conv1d import Conv1dConfig, LitConv1d
from lit_models.core.config import FamilyConfig
from lit_models.core.sequence import SequenceModel
from lit_models.encoder import EncoderConfig, LitEncoder
from lit_models.parts.recurrent import CellName
from lit_models.rnn import LitRNN, RNNConfig
from lit_models.specs.base import ImageSpec
from lit_models.specs.sequence import SeriesSpec, TokenSpec
from tests.lit_models.cohorts import difference, lanes, setting

LENGTH = 9
TOKENS = TokenSpec(vocabulary=7, length=LENGTH, classes=3)
SERIES = SeriesSpec(LENGTH, 2, 2, (0.0, 5.0), (1.0, 2.0), (10.0, -3.0), (4.0, 0.5), tolerance=0.5)
RNN = {"width": 5, "embedding": 4}
# Every family with every readout and pooling, and what else might see padding.
VARIANTS: dict[str, tuple[type[SequenceModel], dict[str, Any]]] = {
    **{
        f"{cell}-{readout}": (LitRNN, {**RNN, "cell": cell, "readout": readout})
        for cell in ("rnn", "lstm", "gru")
        for readout in ("last", "mean", "attention")
    },
    **{
        f"stacked-both-ways-{readout}": (LitRNN, {**RNN, "layers": 2, "bidirectional": True, "readout": readout})
        for readout in ("last", "mean", "attention")
    },
    "rnn-one-hot": (LitRNN, {**RNN, "embedding": 0}),
    **{
        f"conv1d-{pooling}": (LitConv1d, {"width": 5, "depth": 3, "dilation": 2, "pooling": pooling})
        for pooling in ("max", "mean")
    },
    "conv1d-even": (LitConv1d, {"width": 5, "kernel_size": 4, "embedding": 3}),
    "conv1d-causal": (LitConv1d, {"width": 5, "causal": True, "activation": "tanh"}),
    "conv1d-batch-norm": (LitConv1d, {"width": 5, "batch_norm": True}),
    **{
        f"encoder-{positions}-{pooling}": (LitEncoder, {"width": 8, "heads": 2, "positions": positions, **own})
        for positions in ("sinusoidal", "learned", "none")
        for pooling in ("mean", "first")
        for own in [{"pooling": pooling}]
    },
}
variants = pytest.mark.parametrize("name", VARIANTS)


def make(name: str, spec: TokenSpec | SeriesSpec = TOKENS, seed: int = 0, **own: Any) -> SequenceModel:
    family, values = VARIANTS[name]
    return family(family.Config(**{**values, **own}), spec, seed).double()


def sequences(lengths: list[int], most: int = LENGTH) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(1, TOKENS.vocabulary, (len(lengths), LENGTH), generator=generator, dtype=torch.int32)
    return torch.where(torch.arange(LENGTH) < torch.tensor(lengths).unsqueeze(1), x, 0)[:, :most]


def series(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, LENGTH, 2, generator=generator, dtype=torch.float64)
    y = 10 + x[..., 0].sum(dim=1), x[..., 1].sum(dim=1) / 6 - 3
    return x * torch.tensor([1, 2]) + torch.tensor([0, 5]), torch.stack(y, dim=1)


lengths_of_a_batch = st.lists(st.integers(1, LENGTH), min_size=1, max_size=5)


@variants
@settings(max_examples=10, deadline=None)
@given(lengths=lengths_of_a_batch)
def test_padding_changes_no_output(name: str, lengths: list[int]) -> None:
    """Neither how far a batch is padded nor who else is in it."""
    model = make(name).eval()
    padded = model(sequences(lengths))
    torch.testing.assert_close(model(sequences(lengths, max(lengths))), padded)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(model(sequences(lengths, length)[row : row + 1]), padded[row : row + 1])


@variants
@settings(max_examples=5, deadline=None)
@given(lengths=lengths_of_a_batch)
def test_padding_changes_no_training(name: str, lengths: list[int]) -> None:
    """Batch norm's statistics, the loss and every gradient."""
    found = []
    for most in (LENGTH, max(lengths)):
        model = make(name)
        loss = model.training_losses(sequences(lengths, most), torch.arange(len(lengths)) % 3, 0, None).sum()
        torch.autograd.backward(loss)
        # Weights of no use have none; positions beyond the end, and padding's vector, a gradient of zero.
        found.append([loss, *(p.grad for p in model.parameters()), *(b.double() for b in model.buffers())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@variants
def test_an_empty_sequence_gives_numbers(name: str) -> None:
    assert make(name).eval()(sequences([0, 3])).isfinite().all()


@variants
@pytest.mark.parametrize("form", ["tokens", "series"])
def test_stacked_lanes_are_lone_ones(name: str, form: str) -> None:
    spec, y = (TOKENS, torch.arange(6) % 3) if form == "tokens" else (SERIES, series()[1])
    x = sequences([9, 1, 4, 6, 2, 9]) if form == "tokens" else series()[0]
    models = [make(name, spec, seed, dropout=0.3) for seed in range(3)]
    own = [dict(model.network.state_dict(keep_vars=True)) for model in models]
    stacked = {key: torch.stack([values[key].detach() for values in own]) for key in own[0]}
    leaves = {key: value.requires_grad_() for key, value in stacked.items() if own[0][key].requires_grad}

    class Losses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = models[0]

        def forward(self, key: Tensor) -> Tensor:
            return self.model.training_losses(x, y, key, None)

    def losses(values: dict[str, Tensor], key: Tensor) -> Tensor:
        named = {f"model.network.{path}": value for path, value in values.items()}
        result: Tensor = functional_call(Losses(), named, (key,))
        return result

    with StackedLayers():
        found = vmap(losses)({**stacked, **leaves}, torch.arange(3, dtype=torch.int32))
    torch.autograd.backward(found.sum())
    for lane, model in enumerate(models):
        expected = model.training_losses(x, y, lane, None)
        torch.testing.assert_close(found[lane], expected, rtol=1e-10, atol=1e-10)
        gradients = torch.autograd.grad(expected.sum(), [own[lane][key] for key in leaves])
        for key, gradient in zip(leaves, gradients, strict=True):
            leaf = leaves[key].grad
            assert leaf is not None, key
            torch.testing.assert_close(leaf[lane], gradient, rtol=1e-8, atol=1e-10, msg=key)


@pytest.mark.parametrize(("cell", "gate"), [("lstm", 1), ("gru", 1)])
def test_the_forget_bias_is_added_to_one_gate(cell: CellName, gate: int) -> None:
    """However weights begin."""
    for init in ("default", "xavier_normal"):
        one, other = (make(f"{cell}-last", init=init, forget_bias=bias).network.body for bias in (2.0, 0.0))
        with torch.no_grad():
            other.forwards[0].bias_input.view(-1, 5)[gate] += 2
        x = torch.randn(2, LENGTH, 4, dtype=torch.float64)
        torch.testing.assert_close(one(x), other(x))


def test_the_last_states_of_two_directions() -> None:
    """The second direction ends at the first step, where it has read everything."""
    model = make("stacked-both-ways-last")
    x, lengths = sequences([9, 4, 1]), [9, 4, 1]
    states = model.states(x)
    pooled = model.network.pool(states, x != 0)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(pooled[row], torch.cat([states[row, length - 1, :5], states[row, 0, 5:]]))


def test_a_causal_convolution_does_not_see_the_future() -> None:
    x = sequences([LENGTH] * 3)
    changed = x.clone()
    changed[:, 6:] = 1 + x[:, 6:] % 6
    for causal in (True, False):
        model = make("conv1d-max", causal=causal).eval()
        same = torch.isclose(model.states(x), model.states(changed)).all(dim=2)
        assert bool(same[:, :6].all()) == causal
        assert not same[:, 6:].any()


def test_first_filters_tell_what_each_token_adds() -> None:
    for name in ("conv1d-max", "conv1d-even"):
        model = make(name)
        assert isinstance(model, LitConv1d)
        filters, x = model.first_filters(), sequences([9, 5])
        kernel = filters.shape[2]
        assert filters.shape == (5, TOKENS.vocabulary, kernel)
        left = (kernel - 1) // 2
        convolution = model.network.body.layers[0].conv
        for row, step in ((0, 4), (1, 1)):
            window = [
                filters[:, int(x[row, step - left + tap]), tap]
                for tap in range(kernel)
                if 0 <= step - left + tap < LENGTH and x[row, step - left + tap]
            ]
            expected = torch.stack(window).sum(dim=0) + convolution.bias
            torch.testing.assert_close(model.first_responses(x)[row, step], expected)
    model = make("conv1d-max", SERIES)
    assert isinstance(model, LitConv1d)
    with pytest.raises(ValueError, match="no tokens"):
        model.first_filters()


def test_weights_for_pictures() -> None:
    x = sequences([9, 5, 1])
    rnn, encoder = make("lstm-attention"), make("encoder-learned-mean")
    assert isinstance(rnn, LitRNN)
    assert isinstance(encoder, LitEncoder)
    steps, pairs = rnn.attention(x), encoder.attention(x)
    assert steps.shape == (3, LENGTH)
    assert pairs.shape == (2, 3, 2, LENGTH, LENGTH)
    for weights in (steps, pairs):
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones_like(weights[..., 0]))
    assert not steps[x == 0].any()
    assert not pairs[:, :, :, :, 5:][:, 1].any()
    other = make("lstm-last")
    assert isinstance(other, LitRNN)
    with pytest.raises(ValueError, match="only attention has weights, not last"):
        other.attention(x)


def test_without_positions_an_encoder_does_not_know_the_order() -> None:
    x = sequences([LENGTH, 6])
    turned = torch.stack([x[0].flip(0), torch.cat([x[1, :6].flip(0), x[1, 6:]])])
    for positions in ("none", "sinusoidal", "learned"):
        model = make(f"encoder-{positions}-mean").eval()
        assert torch.allclose(model(x), model(turned)) == (positions == "none")


def test_lanes_may_differ_in_numbers_of_their_own() -> None:
    configs = [{"token_dropout": 0.2 * n, "forget_bias": 1.0 + n, "layers": 2, "dropout": 0.1 * n} for n in range(3)]
    for case in ("rnn", "rnn:series"):
        cohort = lanes(case, [{**config, "cell": "gru", "bidirectional": True} for config in configs])
        fused, lone = FusedEngine(cohort, setting(case)), LoneEngine(cohort, setting(case))
        fused.run_epoch(0)
        lone.run_epoch(0)
        assert max(difference(fused, lone, lane.trial) for lane in cohort) < 1e-8


@variants
def test_series_are_told_in_their_own_units(name: str) -> None:
    model, (x, y) = make(name, SERIES).eval(), series()
    outputs = model(x)
    assert outputs.shape == (6, 2)
    inner = model.network((x - torch.tensor(SERIES.mean)) / torch.tensor(SERIES.std))
    torch.testing.assert_close(outputs, inner * torch.tensor(SERIES.target_std) + torch.tensor(SERIES.target_mean))
    errors = (outputs - y) / torch.tensor(SERIES.target_std)
    torch.testing.assert_close(model.sample_losses(outputs, y), errors.square().mean(dim=1))


def test_a_hit_is_within_the_tolerance_in_every_target() -> None:
    model, (x, _) = make("lstm-last", SERIES).eval(), series(3)
    y = model(x).detach() + torch.tensor([[0.4, -0.4], [0.4, 0.6], [0.6, 0.0]])
    with torch.no_grad():
        loss, hits = model.validation_sums(x, y)
        torch.testing.assert_close(loss, model.sample_losses(model(x), y).sum())
    assert hits == 1


@pytest.mark.parametrize("name", ["lstm-last", "conv1d-max", "encoder-sinusoidal-mean"])
def test_numbers_are_learned_from_series(name: str) -> None:
    model, (x, y) = make(name, SERIES, width=16), series(32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(60):
        optimizer.zero_grad()
        loss = model.training_losses(x, y, step, None).mean()
        torch.autograd.backward(loss)
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize(
    ("config", "spec", "sentence"),
    [
        (RNNConfig(label_smoothing=0.1), SERIES, "label_smoothing needs classes"),
        (Conv1dConfig(sampling="balanced"), SERIES, "sampling: balanced needs classes"),
        (Conv1dConfig(dilation=3, depth=4), TOKENS, "puts the taps of layer 4 27 steps apart, and sequences have 9"),
        (EncoderConfig(), ImageSpec((1, 8, 8), 3, (0.5,), (0.5,), 255.0), "takes data of the form tokens or series"),
    ],
)
def test_one_sentence_says_what_does_not_go_together(config: FamilyConfig, spec: Any, sentence: str) -> None:
    family = {RNNConfig: LitRNN, Conv1dConfig: LitConv1d, EncoderConfig: LitEncoder}[type(config)]
    with pytest.raises(ValueError, match=sentence) as caught:
        family(config, spec)
    assert "\n" not in str(caught.value)
