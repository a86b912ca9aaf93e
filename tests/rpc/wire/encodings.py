"""Encodings that tests run against: two that override most methods, and one that does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.json_encoding import JSON
from npipe.rpc.wire.msgpack import MessagePack


class Plain(Encoding):
    """JSON by two functions."""

    def encode(self, value: Any) -> bytes:
        return msgspec.json.encode(value)

    def decode(self, data: bytes, type: Any = Any) -> Any:
        return msgspec.json.decode(data, type=type)


ENCODINGS = [JSON(), Plain(), MessagePack()]
each = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: type(e).__name__)
