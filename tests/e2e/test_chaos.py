"""A search that is killed three times at random moments ends as one that nobody disturbed."""

import random

import pytest

from tests.e2e.chaos import COMMAND, ENDS, KINDS, Story, choose, configure, disturb, doubled, now, tables
from tests.e2e.conftest import PATIENCE, Checkout

TRIALS, EPOCHS, KILLS = 16, 400, 3


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_killed_at_random_moments_it_ends_in_the_same_tables(checkout: Checkout) -> None:
    configure(checkout, TRIALS, EPOCHS)
    checkout.run(*COMMAND, timeout=PATIENCE)
    expected = tables(checkout)
    began = now()
    story = disturb(checkout, KILLS, EPOCHS, seed=1)
    assert story.is_as_planned(KILLS), story
    assert tables(checkout) == expected, story
    assert doubled(checkout, TRIALS, began) == [], story


@pytest.mark.parametrize("kills", [3, 10, 20])
def test_whatever_the_seed_the_kinds_are_those_that_matter(kills: int) -> None:
    for seed in range(50):
        kinds = choose(kills, random.Random(seed))
        assert Story(kinds).is_as_planned(kills), kinds
        assert not Story(kinds[1:]).is_as_planned(kills)
        assert kills > 3 or len(set(kinds)) == 3
    assert not Story(["worker"] * kills).is_as_planned(kills)
    assert set(ENDS) < set(KINDS)
