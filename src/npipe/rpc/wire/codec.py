"""Codecs: the framing and the encoding of the messages on a connection.

================  ==================  ============  ============================================
codec             framing             encoding      used by
================  ==================  ============  ============================================
json-stream       JSON texts          JSON          Ethereum nodes and tools; the default
ndjson            lines               JSON          MCP
content-length    a header            JSON          LSP, DAP
auto              JSON or a header    JSON          servers: detects the client's framing
msgpack           four bytes          MessagePack   StreamJsonRpc
msgpack-rpc       MessagePack         MessagePack   Neovim: arrays in place of objects
================  ==================  ============  ============================================

An ``Encoding`` object may be given in place of a name, and ``Codec(framing, encoding)`` combines
it with another framing. Sans-I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from npipe.rpc.limits import MAX_BYTES, MAX_DEPTH
from npipe.rpc.wire.content_length import ContentLength
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.framing import Auto, Framing
from npipe.rpc.wire.json_encoding import JSON
from npipe.rpc.wire.json_stream import NDJSON, JSONStream
from npipe.rpc.wire.length_prefix import LengthPrefix
from npipe.rpc.wire.msgpack import MessagePack
from npipe.rpc.wire.msgpack_rpc import MessagePackRPC
from npipe.rpc.wire.msgpack_stream import MessagePackStream

__all__ = ["CODECS", "Codec", "find_codec"]

FRAMINGS: dict[str, Callable[..., Framing]] = {
    "json-stream": JSONStream,
    "ndjson": NDJSON,
    "content-length": ContentLength,
    "auto": Auto,
    "length-prefix": LengthPrefix,
    "msgpack-stream": MessagePackStream,
}


@dataclass(frozen=True, slots=True)
class Codec:
    """A framing and an encoding.

    Attributes:
        framing: A name ("json-stream", "ndjson", "content-length", "auto", "length-prefix",
            "msgpack-stream"), or a factory of a ``Framing`` for one connection. The factory is
            called with the largest size of a message in bytes, its largest nesting depth, and a
            function ``check_depth(message, most)``.
        encoding: The encoding of values.
    """

    framing: str | Callable[..., Framing]
    encoding: Encoding

    def __post_init__(self) -> None:
        if isinstance(self.framing, str) and self.framing not in FRAMINGS:
            raise ValueError(
                f"unknown framing {self.framing!r}: choose one of {', '.join(FRAMINGS)}"
            )

    def frame(self, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Framing:
        """Make the framing of a new connection.

        Args:
            max_bytes: The largest size of a received message, in bytes.
            max_depth: The largest nesting depth of a received message.

        Returns:
            The framing, which holds the state of one connection.
        """
        make = FRAMINGS[self.framing] if isinstance(self.framing, str) else self.framing
        return make(max_bytes, max_depth, self.encoding.check_depth)


CODECS = {
    "json-stream": Codec("json-stream", JSON()),
    "ndjson": Codec("ndjson", JSON()),
    "content-length": Codec("content-length", JSON()),
    "auto": Codec("auto", JSON()),
    "msgpack": Codec("length-prefix", MessagePack()),
    "msgpack-rpc": Codec("msgpack-stream", MessagePackRPC()),
}


def find_codec(codec: str | Encoding | Codec | Any) -> Codec:
    """Return the codec for a name or an encoding, or a codec unchanged.

    Args:
        codec: A name, an ``Encoding`` or a ``Codec``.

    Returns:
        The codec.

    Raises:
        ValueError: No codec has this name.
        TypeError: ``codec`` is of another type.
    """
    if isinstance(codec, Codec):
        return codec
    if isinstance(codec, Encoding):
        return Codec(codec.framing, codec)
    if not isinstance(codec, str):
        raise TypeError(f"a codec is a name, an Encoding or a Codec, not {codec!r}")
    if codec not in CODECS:
        raise ValueError(f"unknown codec {codec!r}: choose one of {', '.join(CODECS)}")
    return CODECS[codec]
