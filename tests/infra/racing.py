"""Writers that take turns, a step of the store at a time, in an order that a test decides."""

import threading
from collections.abc import Callable, Sequence

from infra.events import Event, EventStore

Writer = Callable[[EventStore], object]
PATIENCE = 20.0


class Turns:
    """A store for one writer, who waits for its turn before every read and every append."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.go, self.waits = threading.Semaphore(0), threading.Semaphore(0)
        self.done = False

    def read(self) -> list[Event]:
        self._turn()
        return self.store.read()

    def append(self, event: Event) -> None:
        self._turn()
        self.store.append(event)

    def _turn(self) -> None:
        self.waits.release()
        assert self.go.acquire(timeout=PATIENCE)


def race(
    store: EventStore, writers: Sequence[Writer], order: Sequence[int], between: Callable[[], None]
) -> list[object]:
    """Let writers work at once; `order` says whose turn is next, and who is left when it has run out goes on in turn.

    Args:
        between: called after each step.

    Returns:
        What each writer returned, or the exception that ended it.
    """
    turns = [Turns(store) for _ in writers]
    results: list[object] = [None] * len(writers)

    def work(number: int) -> None:
        try:
            results[number] = writers[number](turns[number])
        except Exception as error:  # it is what the test looks at
            results[number] = error
        turns[number].done = True
        turns[number].waits.release()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(writers))]
    for thread, turn in zip(threads, turns, strict=True):
        thread.start()
        assert turn.waits.acquire(timeout=PATIENCE)
    step = 0
    while alive := [turn for turn in turns if not turn.done]:
        turn = alive[(order[step] if step < len(order) else step) % len(alive)]
        turn.go.release()
        assert turn.waits.acquire(timeout=PATIENCE)
        between()
        step += 1
    for thread in threads:
        thread.join(PATIENCE)
    return results
