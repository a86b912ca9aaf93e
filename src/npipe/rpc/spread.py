"""Many servers behind one endpoint, for programs with threads.

The work is done by ``rpc.aio.Spread``, on an event loop in a thread of its own: what it does is to
wait for many connections at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from npipe.address import Address
from npipe.rpc.aio.endpoints import adopt_files
from npipe.rpc.aio.spread import Spread as AsyncSpread
from npipe.rpc.limits import Limits
from npipe.transport.base import Connection

__all__ = ["Spread"]

T = TypeVar("T")


class Spread:
    """Stands in front of several servers: one address, and each client, or with ``stateless`` each
    call, goes to the least busy of them. See ``rpc.aio.Spread``."""

    def __init__(self, upstreams: Sequence[Any], **options: Any) -> None:
        """Prepare a server; it serves nothing yet. Arguments are those of ``rpc.aio.Spread``.

        Raises OSError where a group of servers cannot be found.
        """
        made: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=_run_loop, args=(made,), name="npipe-spread", daemon=True
        )
        self._thread.start()
        self._loop = made.result()
        self._stopped = threading.Event()
        try:
            self._server: AsyncSpread = self._wait(self._make(upstreams, options))
        except BaseException:
            self._end_loop()
            raise

    @property
    def limits(self) -> Limits:
        """The limits for both sides."""
        return self._server.limits

    @property
    def addresses(self) -> list[Address]:
        """Where it listens."""
        return self._server.addresses

    def serve(self, address: str | Address, **options: Any) -> Address:
        """Listen on an address and return at once; ``options`` are those of ``npipe.listen``."""
        return self._wait(self._server.serve(address, **options))

    def serve_connection(self, connection: Connection) -> None:
        """Serve one connection that you have made yourself; return at once."""
        self._wait(adopt_files(connection, self._server.protocol))

    def serve_forever(self) -> None:
        """Wait until ``stop`` is called; KeyboardInterrupt gets through."""
        while not self._stopped.wait(1.0):  # Windows cannot interrupt an endless wait
            pass

    def stop(self, drain: float = 0.0) -> None:
        """Stop listening; give the calls in flight ``drain`` seconds; close the connections.

        Idempotent, from any thread but the server's own.
        """
        if not self._stopped.is_set():
            self._wait(self._server.stop(drain))
            self._stopped.set()
            self._end_loop()

    def stats(self) -> dict[str, Any]:
        """See ``rpc.aio.Server.stats``."""
        made: Future[dict[str, Any]] = Future()
        self._loop.call_soon_threadsafe(lambda: made.set_result(self._server.stats()))
        return made.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    async def _make(self, upstreams: Sequence[Any], options: dict[str, Any]) -> AsyncSpread:
        server = AsyncSpread(upstreams, **options)
        await server.start()
        return server

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_default_executor()

        self._wait(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def _run_loop(made: Future[asyncio.AbstractEventLoop]) -> None:
    # Made here: in the main thread of Windows signals would wake it, by a socket that they go on
    # writing to after it is closed.
    try:
        loop = asyncio.new_event_loop()
    except BaseException as error:
        made.set_exception(error)
        return
    made.set_result(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
