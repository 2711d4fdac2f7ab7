"""Layers for sequences are torch's own where torch has them, and leave padding out."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lit_models.conv1d import MaskedBatchNorm
from lit_models.core.noise import Noise, drawing
from lit_models.parts.embedding import TokenDropout
from lit_models.parts.pooling import Pool
from lit_models.parts.recurrent import CellName, RecurrentStack

LENGTH = 9
TORCH_S: dict[CellName, type[nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("cell", TORCH_S)
@pytest.mark.parametrize(("layers", "both"), [(1, False), (3, False), (1, True), (2, True)])
def test_recurrent_layers_are_torch_s(cell: CellName, layers: int, both: bool) -> None:
    """Packed sequences, too, whose second direction begins at each one's own end."""
    ours = RecurrentStack(cell, 4, 5, layers, both, remember=0.0).double()
    theirs = TORCH_S[cell](4, 5, layers, batch_first=True, bidirectional=both, dtype=torch.float64)
    with torch.no_grad():
        for number in range(layers):
            for layer, end in ((ours.forwards, ""), (ours.backwards, "_reverse"))[: 1 + both]:
                own = layer[number]
                own.bias_input.normal_()
                names = (f"{kind}_l{number}{end}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
                second = torch.zeros_like(own.bias_input) if own.bias_state is None else own.bias_state.normal_()
                values = own.weight_input, own.weight_state, own.bias_input, second
                for name, value in zip(names, values, strict=True):
                    getattr(theirs, name).copy_(value)
    x, lengths = torch.randn(4, LENGTH, 4, dtype=torch.float64), torch.tensor([9, 6, 3, 1])
    mask = torch.arange(LENGTH) < lengths.unsqueeze(1)
    torch.testing.assert_close(ours(x), theirs(x)[0], rtol=1e-10, atol=1e-10)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    torch.testing.assert_close(ours(x, mask) * mask.unsqueeze(2), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell", TORCH_S)
def test_the_cost_of_a_recurrent_layer_is_counted_without_computing(cell: CellName) -> None:
    """As many operations, forward and backward, as torch's own cell of float64, which is made of plain operators."""
    counts = []
    for device in ("meta", "cpu"):
        layer = RecurrentStack(cell, 4, 5).to(device, torch.float64)
        x = torch.zeros(2, LENGTH, 4, dtype=torch.float64, device=device, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            states = layer(x)
            torch.autograd.backward(states.sum())
        assert states.shape == (2, LENGTH, 5)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]


@pytest.mark.parametrize("training", [True, False])
def test_masked_batch_norm_without_a_mask_is_torch_s(training: bool) -> None:
    ours, theirs = MaskedBatchNorm(5).double().train(training), nn.BatchNorm1d(5).double().train(training)
    with torch.no_grad():
        ours.weight.normal_()
        ours.bias.normal_()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    for _ in range(3):
        x = 3 + torch.randn(4, 5, 6, dtype=torch.float64)
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_token_dropout_makes_tokens_unknown() -> None:
    layer, x = TokenDropout(0.25), torch.randn(50, 40, 3)
    with drawing(Noise(7)):
        y = layer(x)
    dropped = (y == 0).all(dim=2)
    assert torch.equal(y[~dropped], x[~dropped])
    assert 0.2 < dropped.float().mean() < 0.3
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("kind", ["max", "mean", "first", "last", "attention"])
def test_without_a_mask_every_step_counts(kind: Any) -> None:
    pool, x = Pool(kind, 4).double(), torch.randn(3, 6, 4, dtype=torch.float64)
    torch.testing.assert_close(pool(x), pool(x, torch.ones(3, 6, dtype=torch.bool)))
