"""Greedy decoding and beam search, on models so small that every sequence can be tried."""

from itertools import product

import pytest
import torch
from torch import Tensor

from lit_models.parts.decoding import State, Step, beam_search, greedy, likeliest, rows
from lit_models.specs.sequence import BEGIN, END, PADDING

WORDS = (3, 4)
VOCABULARY = 5


def random_model(seed: int) -> Step:
    """The next token's logits are a random function of all tokens so far, which the state keeps."""
    table = 2 * torch.randn(7**5, VOCABULARY, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        assert isinstance(state, Tensor)
        known = (state * VOCABULARY + tokens) % len(table)
        return table[known], known

    return step


def start(count: int) -> tuple[Tensor, Tensor]:
    """States that tell the rows apart, and the first tokens."""
    return torch.arange(count) * 11, torch.full((count,), BEGIN)


def all_sequences(length: int) -> list[tuple[int, ...]]:
    """Whatever can stand after BEGIN: words and END, or words alone up to the length."""
    most = length - 1
    ended = [(*words, END) for count in range(most) for words in product(WORDS, repeat=count)]
    return ended + list(product(WORDS, repeat=most))


def log_probability(step: Step, state: Tensor, sequence: tuple[int, ...]) -> float:
    total, token, own = 0.0, BEGIN, state.view(1)
    for following in sequence:
        logits, after = step(torch.tensor([token]), own)
        assert isinstance(after, Tensor)
        total += float(logits.log_softmax(1)[0, following])
        token, own = following, after
    return total


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_beam_of_one_is_greedy(seed: int, penalty: float) -> None:
    step = random_model(seed)
    one, other = greedy(step, *start(9), 6), beam_search(step, *start(9), 6, 1, penalty)
    assert torch.equal(one.tokens, other.tokens)
    torch.testing.assert_close(one.log_probabilities.double(), other.log_probabilities.double())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_beam_wide_enough_finds_the_best_of_all(seed: int, penalty: float) -> None:
    step, length = random_model(seed), 5
    states, begin = start(4)
    found = beam_search(step, states, begin, length, 64, penalty)
    for row in range(4):

        def rank(sequence: tuple[int, ...], state: Tensor = states[row]) -> float:
            return log_probability(step, state, sequence) / ((5 + len(sequence)) / 6) ** penalty

        best = max(all_sequences(length), key=rank)
        assert found.tokens[row].tolist() == [BEGIN, *best, *[PADDING] * (length - 1 - len(best))]
        assert float(found.log_probabilities[row]) == pytest.approx(log_probability(step, states[row], best), abs=1e-5)


def test_a_beam_finds_what_is_likelier_than_the_greedy_choice() -> None:
    count, gains = 200, []
    for seed in range(3):
        step = random_model(seed)
        one, wide = greedy(step, *start(count), 8), beam_search(step, *start(count), 8, 4, penalty=0.0)
        gains.append(wide.log_probabilities - one.log_probabilities)
    gain = torch.cat(gains)
    # A narrow beam may lose what greedy search keeps, but hardly ever does.
    assert (gain > 1e-6).double().mean() > 0.3
    assert (gain < -1e-6).double().mean() < 0.02
    assert gain.mean() > 0.1


def test_greed_is_short_sighted() -> None:
    """The likelier first word leads to two halves, the other to a certain end."""
    chances = {BEGIN: {3: 0.6, 4: 0.4}, 3: {3: 0.5, END: 0.5}, 4: {END: 1.0}, END: {END: 1.0}, PADDING: {END: 1.0}}
    table = torch.full((VOCABULARY, VOCABULARY), -1e9)
    for token, after in chances.items():
        for following, chance in after.items():
            table[token, following] = torch.tensor(chance).log()

    def step(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        return table[tokens], state

    begin = torch.tensor([BEGIN])
    assert greedy(step, None, begin, 4).tokens[0, 1] == 3
    found = beam_search(step, None, begin, 4, 2, penalty=0.0)
    assert found.tokens.tolist() == [[BEGIN, 4, END, PADDING]]
    assert float(found.log_probabilities) == pytest.approx(torch.tensor(0.4).log().item())


def test_the_penalty_helps_long_sequences() -> None:
    step = random_model(0)
    lengths = [
        float((beam_search(step, *start(100), 8, 8, penalty).tokens > PADDING).sum(1).double().mean())
        for penalty in (0.0, 1.0, 4.0)
    ]
    assert lengths[0] < lengths[1] < lengths[2]


@pytest.mark.parametrize("width", [1, 3])
def test_nothing_stands_after_the_end(width: int) -> None:
    step = random_model(1)
    tokens = (greedy(step, *start(50), 9) if width == 1 else beam_search(step, *start(50), 9, width)).tokens
    assert tokens.shape == (50, 9)
    assert tokens.dtype == torch.int64
    for row in tokens.tolist():
        assert row[0] == BEGIN
        assert BEGIN not in row[1:]
        written = row[1 : row.index(END)] if END in row else row[1:]
        assert set(written) <= set(WORDS)
        assert END not in row or set(row[row.index(END) + 1 :]) <= {PADDING}


def test_rows_do_not_disturb_each_other() -> None:
    step, (states, begin) = random_model(2), start(12)
    together = beam_search(step, states, begin, 7, 3)
    for row in range(12):
        alone = beam_search(step, states[row : row + 1], begin[:1], 7, 3)
        assert torch.equal(alone.tokens[0], together.tokens[row])


def test_the_likeliest_is_never_padding_or_begin() -> None:
    assert likeliest(torch.tensor([[9.0, 8.0, 1.0, 0.0], [9.0, 8.0, 1.0, 2.0]])).tolist() == [END, 3]


def test_rows_of_a_state_are_taken_all_the_way_down() -> None:
    index = torch.tensor([2, 0])
    one, (none, (other,)) = rows((torch.arange(3), (None, (torch.eye(3),))), index)  # type: ignore[misc]
    assert isinstance(one, Tensor)
    assert isinstance(other, Tensor)
    assert one.tolist() == [2, 0]
    assert none is None
    assert torch.equal(other, torch.eye(3)[index])
