"""The thread that writes for those who must not wait, where it is not to be had."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from npipe import rpc


class Service:
    @rpc.subscription
    def plain(self, count: int) -> Iterator[int]:
        yield from range(count)

    @rpc.subscription
    async def tasks(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    def back(self, times: int, context: rpc.Context) -> list[str]:
        return [context.remote.call("test_big") for _ in range(times)]

    def big(self) -> str:
        return "x" * 500_000


@pytest.fixture
def api() -> rpc.API:
    api = rpc.API()
    api.register("test", Service())
    return api


@pytest.fixture(params=["never", "once"])
def no_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As on a system without a thread to spare: the names of those that were not started."""
    start, failed = threading.Thread.start, list[str]()

    def may_start(thread: threading.Thread) -> None:
        if thread.name.endswith("-write") and (request.param == "never" or not failed):
            failed.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", may_start)
    return failed


@pytest.mark.parametrize("name", ["plain", "tasks"])
def test_a_subscription_is_sent_by_its_own_generator_then(
    api: rpc.API, address: str, no_thread: list[str], name: str
) -> None:
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address, timeout=60) as client:
            for count in (1, 1000):
                items = client.subscribe("test", name, count)
                assert list(items) == list(range(count))
            assert no_thread


def test_replies_are_written_by_who_reads_then(
    api: rpc.API, address: str, no_thread: list[str]
) -> None:
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address, timeout=60, api=api) as client:
            assert [len(text) for text in client.call("test_back", 5)] == [500_000] * 5
            assert no_thread
