"""Await a plain function that runs in a thread, for both flavours.

Used only with ``async def`` middleware; otherwise plain functions are not awaited.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = ["run_in_thread"]

Start = Callable[[Callable[[], None]], object]


async def run_in_thread(start: Start, function: Callable[[], Any]) -> Any:
    """Run ``function()`` in a thread and return its result.

    ``start(job)`` runs a job in a thread.
    """
    import asyncio  # not imported by servers of plain functions

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: Exception | None) -> None:
        if future.done():  # the call was cancelled
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def job() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as caught:
            # Exceptions that a future cannot hold, or that would end the loop, are converted.

            error = caught if isinstance(caught, Exception) else RuntimeError(repr(caught))
            if isinstance(error, StopIteration):
                error = RuntimeError(repr(error))
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, result, error)

    start(job)
    return await future
