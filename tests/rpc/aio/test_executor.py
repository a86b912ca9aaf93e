"""Where calls of a connection run on a loop: tasks, threads, and limits."""

from __future__ import annotations

import asyncio

from rpc.aio_service import Run, entered, on_each_loop, running

pytestmark = on_each_loop


def test_a_slow_plain_function_holds_up_nothing(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            slow = [asyncio.create_task(client.call("test_block", i)) for i in range(5)]
            await entered(here.service, 5)
            assert await client.call("test_plain", 1) == 1  # on the same connection
            async with await here.connect() as other:
                assert await other.call("test_plain", 2) == 2
            here.service.gate.set()
            assert await asyncio.gather(*slow) == list(range(5))

    run(main())


def test_concurrency_is_kept_over_all_connections(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as one, await here.connect() as two:
            calls = [client.call("test_twoAtATime") for client in (one, two) for _ in range(20)]
            assert max(await asyncio.gather(*calls)) == 2

    run(main())


def test_a_task_is_held_until_it_has_ended(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            wait = asyncio.create_task(client.call("test_wait", 1))
            await entered(here.service)
            (driver,) = here.server._drivers
            assert len(driver.tasks) == 1  # held, so that it is not collected
            wait.cancel()
            await asyncio.wait_for(here.service.cancelled.wait(), 60)
            assert await client.call("test_add", 1) == 1
            while driver.tasks:
                await asyncio.sleep(0)

    run(main())
