"""A search that is killed three times at random moments ends as one that nobody disturbed."""

import pytest

from tests.e2e.chaos import configure, disturb, doubled, tables
from tests.e2e.conftest import Checkout

pytestmark = pytest.mark.slow
TRIALS, EPOCHS, KILLS = 16, 600, 3


def test_killed_at_random_moments_it_ends_in_the_same_tables(checkout: Checkout) -> None:
    configure(checkout, TRIALS, EPOCHS)
    checkout.stage("search", "digits-mlp")
    expected = tables(checkout)
    story = disturb(checkout, KILLS, seed=1)
    assert tables(checkout) == expected, story
    assert doubled(checkout, TRIALS) == [], story
