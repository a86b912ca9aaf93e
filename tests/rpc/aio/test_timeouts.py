"""Time limits of a connection on a loop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from npipe import rpc
from npipe.rpc.aio.timeouts import Timeouts
from rpc.aio_service import Run, entered, on_each_loop, running
from rpc.conformance.test_aio_limits import ended, reply, request


@on_each_loop
def test_a_partial_message_has_its_time(run: Run) -> None:
    async def main() -> None:
        async with running(limits=rpc.Limits(message_timeout=0.05)) as here:
            reader, writer = await here.raw()
            for _ in range(3):  # whole ones may come as slowly as they like
                writer.write(request("test_add", 1))
                assert (await reply(reader))["result"] == 1
                await asyncio.sleep(0.06)  # a real wait: longer than a message may take
            writer.write(b'{"id":')
            assert await ended(reader) == b""
            writer.close()

    run(main())


@on_each_loop
def test_rpc_bug_06_an_idle_connection_stays_unless_asked_otherwise(run: Run) -> None:
    async def main() -> None:
        async with running(limits=rpc.Limits(idle_timeout=0.25)) as here:
            reader, writer = await here.raw()
            writer.write(request("test_wait", 1))
            await entered(here.service)
            await asyncio.sleep(0.4)  # a real wait: a call in flight is no idleness
            here.service.async_gate.set()
            assert (await reply(reader))["result"] == 1
            assert await ended(reader) == b""
            writer.close()
        assert rpc.Limits().idle_timeout is None

    run(main())


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Driver:
    """The parts of a driver that its time limits use, on a loop whose timers the test fires."""

    def __init__(self, **limits: Any) -> None:
        self.loop: Any = self
        self.limits = rpc.Limits(**limits)
        self.session: Any = SimpleNamespace(idle=True, subscriptions={})
        self.transport: Any = SimpleNamespace(get_write_buffer_size=lambda: self.waiting)
        self.reading, self.bytes_out, self.waiting = True, 0, 0
        self.ended: list[str] = []
        self.timers: list[tuple[float, Any, Any, Handle]] = []

    def call_later(self, seconds: float, callback: Any, *arguments: Any) -> Handle:
        self.timers.append((seconds, callback, arguments, Handle()))
        return self.timers[-1][3]

    def fire(self) -> None:
        """Fire the timers that are set now."""
        timers, self.timers = self.timers, []
        for _, callback, arguments, handle in timers:
            if not handle.cancelled:
                callback(*arguments)

    def abort(self, reason: str) -> None:
        self.ended.append(reason)

    close = abort


def test_a_peer_that_reads_nothing_for_the_write_timeout_is_disconnected() -> None:
    driver = Driver(write_timeout=30)
    timeouts = Timeouts(driver)
    driver.bytes_out, driver.waiting = 100, 100
    timeouts.has_written()
    driver.waiting = 99  # it reads, however little
    driver.fire()
    assert driver.ended == []
    driver.fire()
    assert driver.ended == ["the peer reads too slowly"]


def test_a_peer_that_has_read_everything_has_no_timer() -> None:
    driver = Driver(write_timeout=30)
    timeouts = Timeouts(driver)
    driver.bytes_out = driver.waiting = 100
    timeouts.has_written()
    timeouts.has_written()  # one timer is enough
    assert len(driver.timers) == 1
    driver.waiting = 0
    driver.fire()
    assert (driver.timers, driver.ended) == ([], [])


def test_a_message_that_cannot_be_read_on_has_its_time_anew() -> None:
    driver = Driver(message_timeout=0.0)
    timeouts = Timeouts(driver)
    timeouts.has_read(False, 10)
    driver.fire()
    assert driver.ended == ["no complete message in time"]
    driver = Driver(message_timeout=1000.0)
    timeouts = Timeouts(driver)
    timeouts.has_read(False, 10)
    driver.reading = False
    driver.fire()
    ((seconds, *_),) = driver.timers
    assert 999 < seconds <= 1000  # from now on
    timeouts.has_read(True, 0)
    driver.fire()
    assert (driver.timers, driver.ended) == ([], [])


def test_all_timers_end_with_the_connection() -> None:
    driver = Driver(idle_timeout=1.0)
    timeouts = Timeouts(driver)
    timeouts.after(1.0, driver.abort, "later")
    timeouts.stop()
    driver.fire()
    assert driver.ended == []
