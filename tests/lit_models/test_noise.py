"""Noise is a function of key and position: the same alone and among others."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_models.core.noise import EpochNoise, Noise, _mix, _signed, mix, step_keys

CPU = torch.device("cpu")


@given(word=st.integers(0, 2**32 - 1))
def test_the_hash_is_the_same_on_numbers_and_on_tensors(word: int) -> None:
    assert _mix(torch.tensor(_signed(word), dtype=torch.int32)).item() == _signed(mix(word))


def test_uniform_numbers_are_uniform() -> None:
    like = torch.empty((), dtype=torch.float64)
    u = Noise(7).uniform((200_000,), like)
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    assert abs(u.mean() - 0.5) < 0.003
    counts = torch.histc(u, 100, 0, 1)
    assert ((counts - 2000) ** 2 / 2000).sum() < 160, "chi-square, 99 degrees of freedom"
    other = Noise(8).uniform((200_000,), like)
    assert abs(torch.corrcoef(torch.stack([u, other]))[0, 1]) < 0.01
    assert abs(torch.corrcoef(torch.stack([u[:-1], u[1:]]))[0, 1]) < 0.01
    assert torch.equal(u.float(), Noise(7).uniform((200_000,), like.float())), "whatever the type"


@settings(max_examples=20)
@given(keys=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), skipped=st.integers(0, 9))
def test_a_lane_draws_the_same_in_any_company(keys: list[int], skipped: int) -> None:
    def draw(key: torch.Tensor | int) -> torch.Tensor:
        noise = Noise(key)
        noise.skip(skipped)
        first = noise.words((3, 2), CPU)
        return torch.cat([first.flatten(), noise.words((4,), CPU)])

    together = torch.vmap(draw)(torch.tensor([_signed(key) for key in keys], dtype=torch.int32))
    for row, key in enumerate(keys):
        assert torch.equal(together[row], draw(key))
        assert torch.equal(together[row], Noise(key).words((skipped + 10,), CPU)[skipped:]), "one stream"


def test_units_are_kept_at_their_rate() -> None:
    for rate in (0.0, 0.1, 0.9):
        kept = Noise(1).keep((100_000,), rate, CPU)
        assert abs(kept.float().mean().item() - (1 - rate)) < 0.005
        assert torch.equal(kept, Noise(1).keep((100_000,), torch.tensor(rate, dtype=torch.float64), CPU))
    assert Noise(1).keep((100_000,), 0.0, CPU).all()


def test_steps_and_epochs_have_keys_of_their_own() -> None:
    keys = [noise.next() for epoch in range(50) for noise in [EpochNoise(3, epoch)] for _ in range(50)]
    assert len(set(keys)) == 2500
    again = EpochNoise(3, 0)
    assert [again.next(), again.next()] == keys[:2]


@given(seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4), steps=st.integers(1, 40))
def test_all_keys_of_an_epoch_at_once_are_those_of_its_steps(seeds: list[int], steps: int) -> None:
    keys = step_keys([EpochNoise(seed, 2) for seed in seeds], steps)
    for lane, seed in enumerate(seeds):
        noise = EpochNoise(seed, 2)
        assert keys[:, lane].tolist() == [_signed(noise.next()) for _ in range(steps)]
