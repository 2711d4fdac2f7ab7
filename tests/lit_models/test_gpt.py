"""The GPT against torch's own layers, and how it writes: with and without a cache, by every way to draw."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lit_models.gpt import GPT, GPTConfig, LitGPT
from lit_models.parts.generation import Cache, Sampling, generate
from lit_models.specs.sequence import TextSpec

VOCABULARY, LENGTH, WIDTH, HEADS = 13, 10, 8, 2
SPEC = TextSpec(VOCABULARY, LENGTH, 1.0)


def lit(seed: int = 0, **settings: Any) -> LitGPT:
    return LitGPT(GPTConfig(**{"width": WIDTH, "heads": HEADS, "blocks": 2, **settings}), SPEC, seed).double().eval()


def tokens(rows: int = 3, length: int = LENGTH, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed), dtype=torch.int32)


def scattered(model: LitGPT, seed: int = 0) -> LitGPT:
    """With biases and scales that are not as at the beginning."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def torchs_own(network: GPT) -> nn.TransformerEncoder:
    """Torch's layers with the same weights."""
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    stack = nn.TransformerEncoder(layer, len(network.blocks), nn.LayerNorm(WIDTH), enable_nested_tensor=False).double()
    with torch.no_grad():
        for theirs, module in zip(stack.layers, network.blocks, strict=True):
            ours: Any = module
            attention = ours.attention
            theirs.self_attn.in_proj_weight.copy_(
                torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
            )
            theirs.self_attn.in_proj_bias.copy_(
                torch.cat([attention.query.bias, torch.zeros(WIDTH), attention.value.bias])
            )
            for copy, source in (
                (theirs.self_attn.out_proj, attention.out),
                (theirs.norm1, ours.before),
                (theirs.norm2, ours.last),
                (theirs.linear1, ours.mlp[0]),
                (theirs.linear2, ours.mlp[2]),
            ):
                copy.load_state_dict(source.state_dict())
        stack.norm.load_state_dict(network.norm.state_dict())
    return stack.eval()


def test_layers_equal_torchs_own() -> None:
    network = scattered(lit()).network
    x = network.embed(tokens())
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    theirs = torchs_own(network)(x, mask=mask, is_causal=True)
    torch.testing.assert_close(network.logits(network.hidden(tokens())), theirs @ network.embedding.weight.T)


def test_gradients_equal_torchs_own() -> None:
    network = scattered(lit()).network
    x = network.embed(tokens()).detach().requires_grad_()
    y = torchs_own(network)(x, mask=nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64))
    (theirs,) = torch.autograd.grad((y @ network.embedding.weight.T).square().sum(), x)
    hidden, mask = x, torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    for block in network.blocks:
        hidden = block(hidden, mask)
    (ours,) = torch.autograd.grad(network.logits(hidden).square().sum(), x)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_nothing_is_told_from_what_comes_later(positions: str) -> None:
    model = scattered(lit(positions=positions))
    x = tokens()
    changed = x.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % VOCABULARY
    torch.testing.assert_close(model(x)[:, :6], model(changed)[:, :6])
    assert not torch.allclose(model(x)[:, 6:], model(changed)[:, 6:])


@pytest.mark.parametrize(("positions", "knows"), [("learned", True), ("sinusoidal", True), ("none", False)])
def test_without_positions_a_block_does_not_know_the_order(positions: str, knows: bool) -> None:
    model = scattered(lit(positions=positions, blocks=1))
    x = tokens()
    turned = torch.cat([x[:, :-1].flip(1), x[:, -1:]], dim=1)
    assert torch.allclose(model(x)[:, -1], model(turned)[:, -1]) is not knows


def test_attention_is_told_as_it_is() -> None:
    network = scattered(lit()).network
    weights = network.attention(tokens())
    assert weights.shape == (2, 3, HEADS, LENGTH, LENGTH)
    torch.testing.assert_close(weights.sum(4), torch.ones_like(weights[..., 0]))
    assert weights.triu(1).abs().max() == 0


def test_tied_weights_are_one_parameter(tmp_path: Path) -> None:
    model, other = scattered(lit()), lit(seed=1)
    names = dict(model.named_parameters())
    assert not any("head." in name for name in names)
    assert names.keys() == {name for name, _ in model.named_parameters(remove_duplicate=False)}
    save_file(model.state_dict(), tmp_path / "weights.safetensors")  # refuses tensors that share memory
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(other(tokens()), model(tokens()))


def test_tied_weights_are_both_uses_of_one_in_a_functional_call() -> None:
    models = [scattered(lit(seed=seed), seed) for seed in (0, 1, 2)]
    parameters, buffers = torch.func.stack_module_state([model.network for model in models])
    network, x = models[0].network, tokens()

    def call(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        logits: Tensor = torch.func.functional_call(network, (parameters, buffers), (x,))
        return logits

    stacked = torch.func.vmap(call)(parameters, buffers)
    torch.testing.assert_close(stacked, torch.stack([model(x) for model in models]))


def test_tied_weights_learn_from_both_uses() -> None:
    model = lit()
    torch.autograd.backward(model.sample_losses(model(tokens()), tokens(seed=1)).mean())
    gradient = model.network.embedding.weight.grad
    assert gradient is not None
    assert (gradient.abs().sum(1) > 0).all()  # tokens that are not read are scored


def test_untied_weights_are_two_parameters() -> None:
    tied, free = lit(), lit(tie_weights=False)
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (tied, free)]
    assert counts[1] - counts[0] == VOCABULARY * WIDTH
    assert free(tokens()).shape == tied(tokens()).shape == (3, LENGTH, VOCABULARY)


def test_a_loss_is_the_mean_over_the_window_and_a_hit_its_share() -> None:
    model = scattered(lit())
    x, y = tokens(), tokens(seed=1)
    logits = model(x)
    losses = F.cross_entropy(logits.transpose(1, 2), y.long(), reduction="none").mean(1)
    torch.testing.assert_close(model.sample_losses(logits, y), losses)
    share = (logits.argmax(2) == y).double().mean(1).sum()
    torch.testing.assert_close(model.validation_sums(x, y), torch.stack([losses.sum(), share]))


@pytest.mark.parametrize("smoothing", [0.2, torch.tensor(0.2, dtype=torch.float64)], ids=["number", "lane's scalar"])
def test_smoothing_is_as_torchs_own(smoothing: float | Tensor) -> None:
    model = scattered(lit())
    model.config = model.config.model_copy(update={"label_smoothing": smoothing})
    logits, y = model(tokens()), tokens(seed=1)
    expected = F.cross_entropy(logits.transpose(1, 2), y.long(), label_smoothing=0.2, reduction="none").mean(1)
    torch.testing.assert_close(model.sample_losses(logits, y), expected)


def test_it_begins_near_an_even_guess() -> None:
    model = LitGPT(GPTConfig(), TextSpec(512, 64, 1.0), 0).eval()
    x = torch.randint(512, (8, 64), generator=torch.Generator().manual_seed(0))
    y = torch.randint(512, (8, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss = model.sample_losses(model(x), y).mean()
    assert float(loss) < torch.tensor(512.0).log() + 1


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValidationError, match="width must be a multiple of heads, and 10 is none of 4"):
        GPTConfig(width=10, heads=4)


WAYS = {
    "greedy": Sampling(0),
    "plain": Sampling(1.0, seed=1),
    "warm": Sampling(1.7, seed=2),
    "top_k": Sampling(1.3, top_k=4, seed=3),
    "top_p": Sampling(1.3, top_p=0.8, seed=4),
    "both": Sampling(0.9, top_k=6, top_p=0.9, seed=5),
}


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", [1, 4, LENGTH, LENGTH + 3])
def test_a_cache_changes_no_token(way: str, positions: str, given: int) -> None:
    network = scattered(lit(positions=positions)).network
    prompt = tokens(2, given)
    count = 3 * LENGTH  # the context slides several times
    kept = generate(network, prompt, count, WAYS[way])
    assert torch.equal(kept, generate(network, prompt, count, WAYS[way], cached=False))
    assert kept.shape == (2, given + count)
    assert torch.equal(kept[:, :given], prompt.long())
    assert 0 <= int(kept.min()) <= int(kept.max()) < VOCABULARY


def test_a_cache_reads_what_the_network_reads() -> None:
    network = scattered(lit()).network
    x = tokens()
    cache = Cache(network, 3)
    with torch.inference_mode():
        read = [cache.read(part) for part in (x[:, :4], x[:, 4:5], x[:, 5:])]
        expected = network(x)
    torch.testing.assert_close(torch.stack(read, 1), expected[:, [3, 4, LENGTH - 1]])
    with pytest.raises(ValueError, match="11 tokens do not fit into a context of 10"):
        cache.read(x[:, :1])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_contexts_slide_too(length: int) -> None:
    network = scattered(LitGPT(GPTConfig(width=WIDTH, heads=HEADS), TextSpec(VOCABULARY, length, 1.0)).double()).network
    kept = generate(network.eval(), tokens(1, 1), 12, WAYS["plain"])
    assert torch.equal(kept, generate(network, tokens(1, 1), 12, WAYS["plain"], cached=False))


def test_the_seed_decides() -> None:
    network = scattered(lit()).network
    state = torch.get_rng_state()
    first, same, other = (generate(network, tokens(1, 1), 30, Sampling(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("sampling", [Sampling(top_k=1), Sampling(top_p=1e-9), Sampling(1e-9)], ids=str)
def test_the_narrowest_draw_is_greedy(sampling: Sampling) -> None:
    network = scattered(lit()).network
    greedy = generate(network, tokens(2, 1), 20, Sampling(0))
    assert torch.equal(generate(network, tokens(2, 1), 20, sampling), greedy)


def test_greedy_takes_the_likeliest() -> None:
    network = scattered(lit()).network
    written = generate(network, tokens(2, 2), LENGTH - 2, Sampling(0))
    assert torch.equal(written[:, 2:], network(written[:, :-1]).argmax(2)[:, 1:])


LOGITS = torch.tensor([[0.5, 0.1, 0.25, 0.15], [0.1, 0.2, 0.3, 0.4]]).log()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [[0.5, 0.1, 0.25, 0.15], [0.1, 0.2, 0.3, 0.4]]),
        (Sampling(0), [[1, 0, 0, 0], [0, 0, 0, 1]]),
        (Sampling(top_k=2), [[2 / 3, 0, 1 / 3, 0], [0, 0, 3 / 7, 4 / 7]]),
        (Sampling(top_k=9), [[0.5, 0.1, 0.25, 0.15], [0.1, 0.2, 0.3, 0.4]]),
        (Sampling(top_p=0.7), [[2 / 3, 0, 1 / 3, 0], [0, 0, 3 / 7, 4 / 7]]),
        (Sampling(top_p=0.8), [[0.5 / 0.9, 0, 0.25 / 0.9, 0.15 / 0.9], [0, 2 / 9, 3 / 9, 4 / 9]]),
        # Of the two likeliest alone, the first has two thirds.
        (Sampling(top_k=2, top_p=0.6), [[1, 0, 0, 0], [0, 0, 3 / 7, 4 / 7]]),
        (Sampling(0.5), [[n / 138 for n in (100, 4, 25, 9)], [n / 30 for n in (1, 4, 9, 16)]]),
    ],
    ids=str,
)
def test_what_is_drawn_from(sampling: Sampling, expected: list[list[float]]) -> None:
    found = sampling.probabilities(LOGITS)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_draws_come_as_often_as_they_should() -> None:
    logits = LOGITS[:1].expand(20_000, -1)
    drawn = Sampling(top_p=0.8).draw(logits, np.random.default_rng(0)).bincount(minlength=4) / len(logits)
    torch.testing.assert_close(drawn, torch.tensor([0.5556, 0, 0.2778, 0.1667]), atol=0.012, rtol=0)
    assert drawn[1] == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -0.1}, "temperature must be finite and at least 0, not -0.1"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"temperature": float("inf")}, "temperature must be"),
        ({"top_k": -1}, "top_k must be at least 0, not -1"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, not 0.0"),
        ({"top_p": 1.1}, "top_p must be above 0"),
    ],
    ids=str,
)
def test_impossible_sampling_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**wrong)


def test_nothing_cannot_be_gone_on_from() -> None:
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate(lit().network, tokens(1, 0), 3, Sampling())
