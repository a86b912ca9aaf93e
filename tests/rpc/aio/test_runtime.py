"""What all connections of a server or client share on a loop."""

from __future__ import annotations

import asyncio

from npipe import rpc
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.forwarding_driver import UpstreamDriver
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.service.dispatcher import Dispatcher


def test_it_makes_drivers_of_one_kind_with_the_shared_limits() -> None:
    async def main() -> None:
        limits = rpc.Limits(depth=7)
        for kind in (Driver, UpstreamDriver):
            runtime = Runtime(Dispatcher(rpc.API()), limits, "ndjson", kind)
            first, second = (
                runtime.new_driver(number, on_close=lambda driver, reason: None)
                for number in (1, 2)
            )
            assert type(first) is type(second) is kind
            assert first.limits is second.limits is limits
            assert first._framing is not second._framing
            assert first._workers is second._workers
        assert Runtime(Dispatcher(rpc.API()), None, "ndjson", Driver).limits == rpc.Limits()

    asyncio.run(main())
