"""Calls and batches without a reply: each outcome arrives once, in the order of the calls."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from msgspec import Raw

from npipe.errors import RPCError
from npipe.rpc.session.pending_calls import Outcome, PendingBatch, PendingCall


def test_a_call_passes_its_outcome_on() -> None:
    got: list[Outcome] = []
    call = PendingCall(b"1", got.append)
    assert (call.ids, call.sent, call.on_progress) == ((b"1",), False, None)
    call.settle(b"1", Raw(b"5"))
    assert [bytes(outcome) for outcome in got if isinstance(outcome, Raw)] == [b"5"]


def test_a_batch_is_complete_with_its_last_outcome_in_the_order_of_its_calls() -> None:
    got: list[list[Outcome]] = []
    batch = PendingBatch([1, 2, 3], got.append)
    error = RPCError("no")
    outcomes: dict[bytes, Outcome] = {b"3": Raw(b"c"), b"1": error, b"2": Raw(b"b")}
    for id, outcome in outcomes.items():
        assert got == []
        batch.settle(id, outcome)
    assert got == [[error, outcomes[b"2"], outcomes[b"3"]]]


def test_a_batch_settled_whole_is_settled_once() -> None:
    got: list[list[Outcome]] = []
    PendingBatch([1, 2], got.append).settle_all([Raw(b"1"), Raw(b"2")])
    assert len(got) == 1


def test_a_batch_knows_its_ids_and_no_others() -> None:
    batch = PendingBatch([8, 9, 10, 12], print)
    assert all(id in batch for id in (b"8", b"9", b"10", b"12"))
    assert not any(
        id in batch for id in (b"7", b"11", b"13", b"09", b"+9", b"9.0", b'"9"', b"", b"9" * 5000)
    )


def settle_all(batch: PendingBatch, numbers: Sequence[int], ready: threading.Barrier) -> None:
    ready.wait()
    for number in numbers:
        batch.settle(b"%d" % number, Raw(b"%d" % number))


def test_threads_that_settle_a_batch_complete_it_once() -> None:
    for _ in range(50):
        got: list[list[Outcome]] = []
        batch, ready = PendingBatch(list(range(8)), got.append), threading.Barrier(4)
        threads = [
            threading.Thread(target=settle_all, args=(batch, (first, first + 4), ready))
            for first in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [[bytes(o) for o in all if isinstance(o, Raw)] for all in got] == [
            [b"%d" % number for number in range(8)]
        ]
