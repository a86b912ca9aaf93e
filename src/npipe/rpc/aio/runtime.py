"""Runtime on an event loop: the objects shared by all connections of a server or client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.workers import ThreadPool
from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.limits import Limits
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.wire.codec import Codec, find_codec
from npipe.rpc.wire.encoding import Encoding

__all__ = ["Runtime"]

DriverT = TypeVar("DriverT", bound=Driver)


class Runtime(Generic[DriverT]):
    """Makes the drivers for one dispatcher, all of one class."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits | None,
        codec: str | Encoding | Codec,
        kind: type[DriverT],
    ) -> None:
        self.limits: Limits = limits or Limits()
        self._dispatcher = dispatcher
        self.codec: Codec = find_codec(codec)
        self._kind = kind
        self._workers = ThreadPool()
        self._concurrency = ConcurrencyLimits()

    def new_driver(
        self,
        id: int,
        *,
        on_open: Callable[[Driver], object] = lambda driver: None,
        on_close: Callable[[Driver, str], object],
    ) -> DriverT:
        """Make a driver: the protocol for one transport."""
        limits = self.limits
        return self._kind(
            self._dispatcher,
            limits,
            self.codec.frame(max_bytes=limits.message_bytes, max_depth=limits.depth),
            self.codec.encoding,
            connection_id=id,
            workers=self._workers,
            concurrency=self._concurrency,
            on_open=on_open,
            on_close=on_close,
        )
