"""The atomic steps, with threads that are switched as often as possible."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from npipe.rpc.session.atomic import Numbers, pop_first, pop_item, snapshot, take_all

THREADS, ITEMS = 4, 5_000


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*functions: Callable[[], object]) -> None:
    """Run each function in a thread; all begin at once."""
    ready, failures = threading.Barrier(len(functions)), []

    def run(function: Callable[[], object]) -> None:
        ready.wait()
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_no_number_is_given_twice() -> None:
    numbers = Numbers()
    taken: list[list[int]] = [[] for _ in range(THREADS)]

    def take(own: list[int]) -> None:
        while len(own) < ITEMS:
            own.append(numbers.take())
            many = numbers.take_many(3)
            assert many == sorted(many)
            own += many

    together(*(lambda own=own: take(own) for own in taken))
    every = sorted(number for own in taken for number in own)
    assert every == list(range(1, len(every) + 1))


def test_take_all_returns_each_item_once_in_the_order_of_its_thread() -> None:
    items: list[tuple[int, int]] = []
    taken: list[tuple[int, int]] = []
    running = [True] * THREADS

    def append(thread: int) -> None:
        for number in range(ITEMS):
            items.append((thread, number))  # noqa: PERF401
        running[thread] = False

    def take() -> None:
        while any(running):
            taken.extend(take_all(items))
        taken.extend(take_all(items))

    together(take, *(lambda thread=thread: append(thread) for thread in range(THREADS)))
    for thread in range(THREADS):
        assert [n for which, n in taken if which == thread] == list(range(ITEMS))


def test_each_item_is_popped_by_one_thread() -> None:
    queue, table = deque(range(ITEMS)), dict.fromkeys(range(ITEMS), "x")
    first: list[int] = []
    item: list[int] = []

    def pop() -> None:
        while (popped := pop_first(queue)) is not None:
            first.append(popped)
        while (pair := pop_item(table)) is not None:
            item.append(pair[0])

    together(*[pop] * THREADS)
    assert sorted(first) == sorted(item) == list(range(ITEMS))
    assert pop_first(queue) is pop_item(table) is None


def test_a_snapshot_may_be_made_while_others_add_and_discard() -> None:
    active: set[object] = set()
    table: dict[int, int] = {}
    running = [True] * THREADS

    def change(thread: int) -> None:
        for number in range(ITEMS):
            key = thread * ITEMS + number
            active.add(key)
            table[key] = key
            if number % 3:
                active.discard(key)
                assert table.pop(key, None) == key
        running[thread] = False

    def look() -> None:
        while any(running):
            snapshot(active)
            assert all(isinstance(value, int) for value in snapshot(table.values()))

    together(look, *(lambda thread=thread: change(thread) for thread in range(THREADS)))
    assert len(snapshot(active)) == len(table) == THREADS * len(range(0, ITEMS, 3))


def test_one_thread_gets_what_all_ask_for() -> None:
    for key in range(300):
        table: dict[int, object] = {key: "x"}
        made: dict[int, object] = {}
        got: list[object] = []
        values: list[object] = []

        def pop(
            table: dict[int, object] = table, key: int = key, got: list[object] = got,
            made: dict[int, object] = made, values: list[object] = values,
        ) -> None:  # fmt: skip
            got.append(table.pop(key, None))
            values.append(made.setdefault(key, object()))

        together(*[pop] * THREADS)
        assert sorted(map(str, got)) == ["None"] * (THREADS - 1) + ["x"]
        assert len(set(map(id, values))) == 1
