"""Attention and blocks are torch's own on the same weights; what they may not see changes nothing."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lit_models.core.noise import Noise, drawing
from lit_models.parts.attention import Attention, Block, Positions, causal_mask, padding_mask

WIDTH, HEADS = 12, 3
DOUBLE = torch.float64


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(sum(shape)))


def tokens(lengths: list[int], most: int) -> Tensor:
    """Padded on the right."""
    return (torch.arange(most) < torch.tensor(lengths).unsqueeze(1)).int()


def copy_attention(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros_like(ours.query.bias), ours.value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())


def copy_block(ours: Block, theirs: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer) -> None:
    copy_attention(ours.attention, theirs.self_attn)
    norms = [ours.before, ours.last]
    if isinstance(theirs, nn.TransformerDecoderLayer):
        assert ours.cross is not None
        assert ours.between is not None
        copy_attention(ours.cross, theirs.multihead_attn)
        norms.insert(1, ours.between)
        theirs.norm3.load_state_dict(norms[2].state_dict())
    theirs.norm1.load_state_dict(norms[0].state_dict())
    theirs.norm2.load_state_dict(norms[1].state_dict())
    theirs.linear1.load_state_dict(ours.mlp[0].state_dict())
    theirs.linear2.load_state_dict(ours.mlp[2].state_dict())


@pytest.mark.parametrize("heads", [1, 3, 12])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_torch_s(heads: int, cross: bool, causal: bool) -> None:
    ours = Attention(WIDTH, heads).to(DOUBLE)
    theirs = nn.MultiheadAttention(WIDTH, heads, batch_first=True, dtype=DOUBLE)
    copy_attention(ours, theirs)
    x = random(3, 7, WIDTH)
    memory = random(3, 7, WIDTH).flip(1) if cross else x
    padding = tokens([7, 4, 1], 7)
    mask = padding_mask(padding) & causal_mask(7) if causal else padding_mask(padding)
    expected, weights = theirs(
        x,
        memory,
        memory,
        key_padding_mask=padding == 0,
        attn_mask=~causal_mask(7)[0, 0] if causal else None,
        average_attn_weights=False,
    )
    torch.testing.assert_close(ours(x, memory, mask), expected)
    torch.testing.assert_close(ours.weights(x, memory, mask), weights)


def test_a_step_that_may_look_nowhere_is_no_nan() -> None:
    attention = Attention(WIDTH, HEADS)
    x = torch.randn(2, 5, WIDTH, requires_grad=True)
    y = attention(x, mask=padding_mask(tokens([3, 0], 5)))
    torch.autograd.backward(y.sum())
    assert x.grad is not None
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


def test_encoder_block_is_torch_s() -> None:
    ours = Block(WIDTH, HEADS, expansion=4).to(DOUBLE)
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, dtype=DOUBLE
    )
    copy_block(ours, theirs)
    x, padding = random(3, 7, WIDTH), tokens([7, 4, 1], 7)
    torch.testing.assert_close(
        ours(x, padding_mask(padding)), theirs(x, src_key_padding_mask=padding == 0), rtol=1e-10, atol=1e-10
    )


def test_decoder_block_is_torch_s() -> None:
    ours = Block(WIDTH, HEADS, expansion=2, cross=True).to(DOUBLE)
    theirs = nn.TransformerDecoderLayer(
        WIDTH, HEADS, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, dtype=DOUBLE
    )
    copy_block(ours, theirs)
    x, memory, padding = random(3, 5, WIDTH), random(3, 7, WIDTH), tokens([7, 4, 1], 7)
    expected = theirs(x, memory, tgt_mask=~causal_mask(5)[0, 0], memory_key_padding_mask=padding == 0)
    torch.testing.assert_close(ours(x, causal_mask(5), memory, padding_mask(padding)), expected, rtol=1e-10, atol=1e-10)


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), cross=st.booleans())
def test_steps_from_a_cache_are_those_of_the_whole(sizes: list[int], cross: bool) -> None:
    block = Block(WIDTH, HEADS, cross=cross).to(DOUBLE)
    x = random(2, sum(sizes), WIDTH)
    memory, mask = (random(2, 6, WIDTH), padding_mask(tokens([6, 2], 6))) if cross else (None, None)
    known = block.cross.keys_values(memory) if block.cross is not None and memory is not None else None
    past, found = None, []
    for part in x.split(sizes, dim=1):
        y, past = block.step(part, past, known, mask)
        found.append(y)
    torch.testing.assert_close(torch.cat(found, 1), block(x, causal_mask(sum(sizes)), memory, mask))


def test_a_causal_block_does_not_see_the_future() -> None:
    block, x = Block(WIDTH, HEADS).to(DOUBLE), random(2, 6, WIDTH)
    changed = torch.cat([x[:, :4], x[:, 4:] + 1], dim=1)
    one, other = (block(value, causal_mask(6)) for value in (x, changed))
    assert torch.equal(one[:, :4], other[:, :4])
    assert not torch.isclose(one[:, 4:], other[:, 4:]).all(dim=2).any()


def test_dropout_is_a_function_of_the_step_s_key() -> None:
    block, x = Block(WIDTH, HEADS, dropout=0.5), torch.randn(2, 6, WIDTH)
    found = []
    for key in (1, 1, 2):
        with drawing(Noise(key)):
            found.append(block(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(block.eval()(x), block(x))


def test_heads_share_the_width() -> None:
    with pytest.raises(ValueError, match="5 heads cannot share a width of 12"):
        Attention(12, 5)


@pytest.mark.parametrize("width", [1, 4, 7])
def test_sinusoids_are_those_of_the_paper(width: int) -> None:
    found = Positions("sinusoidal", 50, width)(torch.zeros(1, 50, width))[0]
    for place in (0, 1, 49):
        for number in range(width):
            angle = place / 10_000 ** (number // 2 * 2 / width)
            expected = math.cos(angle) if number % 2 else math.sin(angle)
            assert found[place, number].item() == pytest.approx(expected, abs=1e-5)


def test_positions_begin_where_told_and_end() -> None:
    x = torch.randn(2, 3, 4)
    for kind in ("sinusoidal", "learned"):
        positions = Positions(kind, 5, 4)
        whole = positions(torch.zeros(1, 5, 4))
        torch.testing.assert_close(positions(x, 2), x + whole[:, 2:])
        with pytest.raises(ValueError, match="6 steps are more than the 5"):
            positions(x, 3)
    assert not list(Positions("sinusoidal", 5, 4).parameters())
    assert torch.equal(Positions("none", 1, 4)(x), x)
