"""What a transport's ``get_extra_info`` tells beyond what the loop knows: "peer" and addresses.

The transports are the loop's own, and no loop offers a public way to add to their extra info
before the protocol meets them. Two ways are needed:

* asyncio's transports keep a dictionary, ``_extra``; it is completed in place, so the protocol
  gets asyncio's own transport object.
* uvloop's are compiled and closed. There the protocol gets a ``Described`` transport: everything
  is passed on to uvloop's, and only ``get_extra_info`` answers more. One thing is lost with it,
  ``loop.start_tls``, for which uvloop wants its own object.

No loop, no socket and no pipe is touched here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

__all__ = ["Introducer", "describe"]


class Introducer(asyncio.Protocol):
    """Receives the new transport in the protocol's place, completes it, and steps aside.

    The protocol never sees a transport without its peer, and pays nothing for it later: by the
    time ``connection_made`` is called on it, it is the transport's protocol.
    """

    original: asyncio.BaseTransport  # the loop's own
    transport: asyncio.Transport  # what the protocol got

    def __init__(
        self, protocol: asyncio.BaseProtocol, info: Mapping[str, Any], *, reads: bool = True
    ) -> None:
        """Stand for ``protocol``. Unless it ``reads`` it is told of nothing that arrives."""
        self.protocol = protocol
        self._info = info
        self._reads = reads

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.original = transport
        self.transport = describe(transport, self._info)
        transport.set_protocol(self.protocol if self._reads else WritingOnly(self.protocol))
        self.protocol.connection_made(self.transport)


class WritingOnly(asyncio.Protocol):
    """Keeps what arrives from a protocol that only writes, and its end above all.

    A loop closes the transport of a protocol that returns None from ``eof_received``. Pausing the
    transport would not do: uvloop starts to read only after ``connection_made``.
    """

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def eof_received(self) -> bool:
        return True


def describe(transport: asyncio.BaseTransport, info: Mapping[str, Any]) -> asyncio.Transport:
    """Return ``transport``, or what stands for it, with ``info`` in its extra info."""
    extra = getattr(transport, "_extra", None)
    if isinstance(extra, dict):
        extra.update(info)
        return cast("asyncio.Transport", transport)
    return cast("asyncio.Transport", Described(transport, info))


class Described:
    """A transport of a loop that takes no extra info, with extra info.

    Not an ``asyncio.Transport`` by inheritance, for uvloop's are not either, and an inherited
    method would hide the real one.
    """

    def __init__(self, transport: asyncio.BaseTransport, info: Mapping[str, Any]) -> None:
        self._transport = transport
        self._info = info
        # The one method that is called often enough for __getattr__ to be felt.
        self.write = cast("asyncio.Transport", transport).write

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name in self._info:
            return self._info[name]
        return self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._transport!r}>"
