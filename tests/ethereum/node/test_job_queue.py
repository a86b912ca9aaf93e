"""The order of jobs: reads overtake writes of other callers, and never starve them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ethereum.direct import Direct
from npipe.ethereum.node.job_queue import JobQueue
from npipe.rpc.service.api import API


class Line:
    """JobQueue whose jobs write down that they ran."""

    def __init__(self) -> None:
        self.turns = JobQueue()
        self.done: list[str] = []

    def put(self, *names: str, caller: object = None, writes: bool = False) -> None:
        for name in names:
            job: Callable[[], None] = partial(self.done.append, name)
            self.turns.put(job, caller=caller, writes=writes)

    def run(self, count: int) -> list[str]:
        for _ in range(count):
            job = self.turns.take()
            assert job is not None
            job()
        return self.done[-count:]


def test_a_read_waits_for_one_of_many_writers() -> None:
    line = Line()
    line.put("w1", "w2", "w3", caller=1, writes=True)
    line.put("r", caller=2)
    assert line.run(4) == ["w1", "r", "w2", "w3"]


def test_what_a_caller_sends_stays_in_order() -> None:
    line = Line()
    line.put("w1", "w2", caller=1, writes=True)
    line.put("own", caller=1)
    line.put("other", caller=2)
    assert line.run(4) == ["w1", "other", "w2", "own"]
    line.put("free again", caller=1)
    assert line.run(1) == ["free again"]


def test_a_read_that_came_first_is_not_overtaken_by_its_caller_s_own_write() -> None:
    line = Line()
    line.put("r", caller=1)
    line.put("w", caller=1, writes=True)
    line.put("other", caller=2)
    assert line.run(3) == ["r", "w", "other"]


def test_readers_keep_no_writer_out() -> None:
    line = Line()
    line.put("w1", "w2", caller=1, writes=True)
    line.put("r1", "r2", caller=2)
    assert line.run(2) == ["w1", "r1"]
    line.put("r3", "r4", caller=2)  # they came after w1: once is enough
    assert line.run(4) == ["r2", "w2", "r3", "r4"]


def test_without_a_writer_it_is_first_come_first_served() -> None:
    line = Line()
    line.put("a", caller=1)
    line.put("b", caller=2)
    line.put("c")
    assert line.run(3) == ["a", "b", "c"]
    assert line.turns.take() is None


def test_at_each_turn_of_a_long_job_reads_pass_and_writers_do_not() -> None:
    line = Line()
    job: Callable[[], None] = partial(line.done.append, "long")
    line.turns.put(job, caller=1, many=True)
    line.put("own", caller=1)
    line.put("w", caller=2, writes=True)
    assert line.run(1) == ["long"]
    line.put("r1", "r2", caller=3)
    assert line.run(1) == ["long"]  # they came after its turn had begun to be awaited: one more
    assert line.run(3) == ["r1", "r2", "long"]
    line.turns.finish()
    assert line.run(2) == ["own", "w"]


def test_while_a_long_job_pauses_only_reads_are_taken() -> None:
    line = Line()
    job: Callable[[], None] = partial(line.done.append, "long")
    line.turns.put(job, caller=1, many=True)
    line.put("own", caller=1)
    line.put("w", caller=2, writes=True)
    line.run(1)
    line.turns.pause()
    assert line.turns.take() is None
    line.put("r1", "r2", caller=3)
    assert line.run(2) == ["r1", "r2"]
    assert line.turns.take() is None
    assert len(line.turns) == 3
    line.turns.resume()
    assert line.run(1) == ["long"]
    line.turns.finish()
    assert line.run(2) == ["own", "w"]
    assert len(line.turns) == 0


def test_a_failing_job_is_no_obstacle() -> None:
    line = Line()
    line.turns.put(partial(divmod, 1, 0), writes=True)  # type: ignore[arg-type]
    line.put("r", caller=2)
    line.put("w", writes=True)
    with pytest.raises(ZeroDivisionError):
        line.run(1)
    assert line.run(2) == ["r", "w"]


def test_who_reads_waits_for_one_block_of_thousands(api: API, service: Any) -> None:
    """The blocks are one call; somebody else's reads are answered between them."""
    node, writer, reader = service.node, Direct(api, connection_id=1), Direct(api, connection_id=2)
    begun, release = threading.Event(), threading.Event()

    def hold(event: object) -> None:
        begun.set()
        release.wait(60)

    token = node.hub.add(hold)
    thread = threading.Thread(target=writer.call, args=("evm_mine", {"blocks": 1_000}))
    thread.start()
    assert begun.wait(60)
    seen: list[int] = []

    def read() -> None:
        while not seen or seen[-1] < 1_000:
            seen.append(int(reader.call("eth_getBlockByNumber", "latest", False)["number"], 16))

    reading = threading.Thread(target=read)
    reading.start()
    while node.worker._arrivals.qsize() == 0:  # until the first read waits behind the first block
        release.wait(0.001)
    node.hub.remove(token)
    release.set()
    thread.join(60)
    reading.join(60)
    assert seen[0] <= 2
    assert len(seen) > 100


def test_what_a_caller_asks_after_its_blocks_it_is_told_after_them(api: API, service: Any) -> None:
    writer = Direct(api, connection_id=1)
    writer.call("evm_mine", {"blocks": 50})
    assert writer.call("eth_getBlockByNumber", "latest", False)["number"] == hex(50)


def test_who_has_gone_gets_no_more_blocks(service: Any) -> None:
    """Nobody waits for the rest of ten thousand blocks when the caller is no longer there."""
    from types import SimpleNamespace

    from npipe.ethereum.api.evm import Ganache, MineOptions

    gone = SimpleNamespace(connection_id=1, cancelled=True, on_reply=lambda callback: None)
    Ganache(service.node).mine(gone, MineOptions(blocks=1_000))
    assert service.node.head.number == 1


def test_ten_transactions_do_not_add_up_for_a_reader(
    api: API, service: Any, alice: str, bob: str
) -> None:
    """Each is of a connection of its own, and all wait in the worker when the reader comes."""
    worker, begun, release = service.node.worker, threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        release.wait(60)

    busy = threading.Thread(target=worker.call, args=(wait,))
    busy.start()
    assert begun.wait(20)
    connections = [Direct(api, connection_id=number) for number in range(11)]
    request = {"from": alice, "to": bob, "gas": "0x5208"}
    threads = [
        threading.Thread(target=connection.call, args=("eth_sendTransaction", request))
        for connection in connections[1:]
    ]
    seen: list[str] = []

    def read() -> None:
        seen.append(connections[0].call("eth_getBlockByNumber", "latest", False)["number"])

    threads.append(threading.Thread(target=read))
    try:
        for count, thread in enumerate(threads):
            thread.start()
            while worker._arrivals.qsize() <= count:
                release.wait(0.001)
    finally:
        release.set()
        for thread in (busy, *threads):
            thread.join(60)
    assert int(seen[0], 16) <= 1
    assert connections[0].call("eth_blockNumber") == "0xa"
