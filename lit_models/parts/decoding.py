"""How a sequence is written token by token: always the likeliest next, or with several beginnings kept at a time.

What is decoded is anything that can be asked for the next token: a function from the last tokens and a state to logits
and the next state. A state is a tensor, nothing, or a tuple of states; the first dimension of its tensors are the rows,
one for each sequence that is being written.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lit_models.specs.sequence import END, PADDING

State = Tensor | None | tuple["State", ...]
Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""Maps the last tokens (N,) int64 and a state of N rows to logits (N, vocabulary) and the next state."""


class Decoded(NamedTuple):
    """Sequences, and the sum of the logarithms of their tokens' probabilities.

    Attributes:
        tokens: (B, length) int64: BEGIN, ..., END, then padding; without END where the length did not suffice.
        log_probabilities: (B,).
    """

    tokens: Tensor
    log_probabilities: Tensor


def likeliest(logits: Tensor) -> Tensor:
    """The token (...,) int64 with the highest of the logits (..., vocabulary); never padding or BEGIN."""
    return logits[..., END:].argmax(dim=-1) + END


def greedy(step: Step, state: State, begin: Tensor, length: int) -> Decoded:
    """Always take the likeliest next token.

    Args:
        step: gives the next token's logits.
        state: of B rows.
        begin: the first tokens, (B,) int64.
        length: of the longest sequence, BEGIN and END included.
    """
    tokens = [begin]
    total = torch.zeros(len(begin), device=begin.device)
    ended = torch.zeros_like(begin, dtype=torch.bool)
    for _ in range(length - 1):
        logits, state = step(tokens[-1], state)
        chosen = likeliest(logits)
        gain = logits.log_softmax(dim=-1).gather(1, chosen.unsqueeze(1)).squeeze(1)
        total = total + gain.masked_fill(ended, 0.0)
        tokens.append(chosen.masked_fill(ended, PADDING))
        ended = ended | (chosen == END)
        if bool(ended.all()):
            break
    return Decoded(_padded(torch.stack(tokens, dim=1), length), total)


def beam_search(step: Step, state: State, begin: Tensor, length: int, width: int, penalty: float = 0.6) -> Decoded:
    """Keep the best `width` beginnings at a time, and return the best sequence that they lead to.

    Beginnings that have ended stay among the others as they are. All are ranked by log P / ((5 + n) / 6)^penalty, n
    tokens after BEGIN (Wu et al., Google's neural machine translation system, 2016, without its coverage): at 0 by
    their probability, which favours short ones. A width of 1 is `greedy`.

    Args:
        step: gives the next token's logits.
        state: of B rows.
        begin: the first tokens, (B,) int64.
        length: of the longest sequence, BEGIN and END included.
        width: beginnings of each sequence.
        penalty: how much long sequences are helped.
    """
    count = len(begin)
    tokens = begin.view(count, 1, 1)
    totals = torch.zeros(count, 1, device=begin.device)
    lengths, ended = torch.zeros_like(totals), torch.zeros_like(totals, dtype=torch.bool)
    for _ in range(length - 1):
        kept = totals.shape[1]
        logits, state = step(tokens[:, :, -1].flatten(), state)
        candidates = totals.unsqueeze(2) + _gains(logits.view(count, kept, -1), ended)
        lengths = lengths + (~ended).to(lengths.dtype)
        ranks = candidates / _penalty(lengths, penalty).unsqueeze(2)
        best = ranks.flatten(1).topk(min(width, ranks[0].numel())).indices
        parent, token = best // logits.shape[1], best % logits.shape[1]
        totals, lengths = candidates.flatten(1).gather(1, best), lengths.gather(1, parent)
        history = tokens.gather(1, parent.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
        tokens = torch.cat([history, token.unsqueeze(2)], dim=2)
        ended = ended.gather(1, parent) | (token == END)
        state = rows(state, (parent + kept * torch.arange(count, device=begin.device).unsqueeze(1)).flatten())
        if bool(ended.all()):
            break
    winner = (totals / _penalty(lengths, penalty)).argmax(dim=1, keepdim=True)
    chosen = tokens.gather(1, winner.unsqueeze(2).expand(-1, -1, tokens.shape[2])).squeeze(1)
    return Decoded(_padded(chosen, length), totals.gather(1, winner).squeeze(1))


def _gains(logits: Tensor, ended: Tensor) -> Tensor:
    """What each next token adds to the log-probability: (B, K, vocabulary) of logits of that shape and ended (B, K)."""
    gains = logits.log_softmax(dim=-1)
    token = torch.arange(logits.shape[2], device=logits.device)
    gains = gains.masked_fill(token < END, -torch.inf)
    # An ended one goes on by padding alone, which costs nothing.
    after = torch.where(token == PADDING, 0.0, -torch.inf).to(gains.dtype)
    return torch.where(ended.unsqueeze(2), after, gains)


def _penalty(lengths: Tensor, penalty: float) -> Tensor:
    return ((5 + lengths) / 6) ** penalty


def rows(state: State, index: Tensor) -> State:
    """Take the rows at `index` (M,) int64 of every tensor of a state."""
    if isinstance(state, tuple):
        return tuple(rows(part, index) for part in state)
    return None if state is None else state.index_select(0, index)


def _padded(tokens: Tensor, length: int) -> Tensor:
    """Fill (B, T) up to (B, length)."""
    return torch.nn.functional.pad(tokens, (0, length - tokens.shape[1]), value=PADDING)
