"""Extra info of a transport: adds "peer" and the addresses to the values of the loop.

The loop makes the transports, and no loop has a public way to add to their extra info before
``connection_made``. Two ways are needed:

* A transport of asyncio has a dictionary, ``_extra``. This module updates it, so the protocol gets
  the transport object of asyncio.
* A transport of uvloop is a compiled class without such an attribute. There the protocol gets a
  ``Described`` transport, which delegates every method to the transport of uvloop and extends
  ``get_extra_info``. ``loop.start_tls`` does not work with it, because uvloop requires its own
  object.

This module does not use a loop, a socket or a pipe directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

__all__ = ["Introducer", "describe"]


class Introducer(asyncio.Protocol):
    """First protocol of a transport: adds the extra info, then installs the real protocol.

    The real protocol therefore never gets a transport without extra info. It is installed before
    its ``connection_made`` is called, so later events reach it directly and cost no extra call.
    """

    original: asyncio.BaseTransport  # the transport of the loop
    transport: asyncio.Transport  # the transport that the protocol got

    def __init__(
        self,
        protocol: asyncio.BaseProtocol,
        info: Mapping[str, Any],
        *,
        reads: bool = True,
        half_close: bool = True,
    ) -> None:
        """Prepare to install ``protocol``.

        Args:
            protocol: The real protocol.
            info: The extra info to add.
            reads: Whether the protocol gets the data that arrives. False hides data and the end
                of the stream from it.
            half_close: Whether the peer can still write after ``write_eof``. False makes the
                transport refuse that method.
        """
        self.protocol = protocol
        self._half_close = half_close
        self._info = info
        self._reads = reads

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.original = transport
        if self._half_close:
            self.transport = describe(transport, self._info)
        else:
            self.transport = cast("asyncio.Transport", WithoutEof(transport, self._info))
        transport.set_protocol(self.protocol if self._reads else WritingOnly(self.protocol))
        self.protocol.connection_made(self.transport)


class WritingOnly(asyncio.Protocol):
    """Filter for a protocol that only writes: discards data and the end of the stream.

    A loop closes the transport if ``eof_received`` of the protocol returns None. Pausing the
    transport would not prevent that: uvloop starts to read only after ``connection_made``.
    """

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def eof_received(self) -> bool:
        return True


def describe(transport: asyncio.BaseTransport, info: Mapping[str, Any]) -> asyncio.Transport:
    """Add ``info`` to the extra info of a transport.

    Args:
        transport: A transport of any loop.
        info: The values to add.

    Returns:
        ``transport`` itself, or a ``Described`` transport that wraps it.
    """
    extra = getattr(transport, "_extra", None)
    if isinstance(extra, dict):
        extra.update(info)
        return cast("asyncio.Transport", transport)
    return cast("asyncio.Transport", Described(transport, info))


class Described:
    """Wrapper that adds extra info to a transport whose class does not allow it.

    It does not inherit from ``asyncio.Transport``: an inherited method would hide the method of
    the wrapped transport, and the transports of uvloop do not inherit from it either.
    """

    def __init__(self, transport: asyncio.BaseTransport, info: Mapping[str, Any]) -> None:
        self._transport = transport
        self._info = info
        # Bound here because `write` is called often and __getattr__ would slow it down.
        write = cast("asyncio.Transport", transport).write
        self.write: Callable[[bytes | bytearray | memoryview], None] = write

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name in self._info:
            return self._info[name]
        return self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport!r}>"


class WithoutEof(Described):
    """Wrapper of a transport on which the end of the stream is the end of the connection."""

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise NotImplementedError("this pipe has no half-close")
