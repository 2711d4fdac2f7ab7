"""What is gathered is handed out once, in order, within the limits that MLflow sets a request."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from pipelines.batches import MOST, MOST_ENTRIES, Batches

NUMBERS = st.lists(st.integers(0, 1100), max_size=4)


@given(st.fixed_dictionaries(dict.fromkeys(MOST, NUMBERS)))
def test_every_entry_goes_out_once_in_order_and_requests_are_as_full_as_they_may_be(told: dict[str, list[int]]) -> None:
    batches, expected = Batches(), dict[str, list[str]]()
    for kind, counts in told.items():
        expected[kind] = []
        for count in counts:
            entries = [f"{kind} {len(expected[kind]) + place}" for place in range(count)]
            batches.add("ours", kind, entries)
            expected[kind] += entries
    batches.add("another", "tags", ["theirs"])
    requests = list(batches.take("ours"))
    for kind in MOST:
        assert list(chain.from_iterable(request[kind] for request in requests)) == expected[kind]
        assert all(len(request[kind]) <= MOST[kind] for request in requests)
    assert all(0 < sum(map(len, request.values())) <= MOST_ENTRIES for request in requests)
    for request in requests[:-1]:
        full = [kind for kind in MOST if len(request[kind]) == MOST[kind]]
        assert full or sum(map(len, request.values())) == MOST_ENTRIES
    assert not list(batches.take("ours"))
    assert batches.runs() == ["another"]
