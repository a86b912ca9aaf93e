"""Values without envelopes: what every encoding derives from encode and decode."""

from __future__ import annotations

from typing import Any

import pytest

from npipe.errors import ProtocolError
from npipe.rpc.wire.encoding import Encoding
from rpc.wire.encodings import each


@each
def test_parts_are_joined_and_split(encoding: Encoding) -> None:
    one, two = encoding.encode(1), encoding.encode("b")
    assert encoding.decode(encoding.array([one, two])) == [1, "b"]
    assert encoding.decode(encoding.object({"x": one})) == {"x": 1}
    assert [bytes(item) for item in encoding.items(encoding.array([one, two]))] == [one, two]
    assert {k: bytes(v) for k, v in encoding.members(encoding.object({"x": two})).items()} == {
        "x": two
    }
    kinds = [encoding.kind(encoding.encode(value)) for value in ([], {}, None, 5)]
    assert [*kinds, encoding.kind(b"")] == ["array", "object", "null", "other", "null"]


@each
def test_deep_values_are_rejected(encoding: Encoding) -> None:
    value: Any = 1
    for _ in range(9):
        value = [value]
    encoding.check_depth(encoding.encode(value), 10)
    with pytest.raises(ProtocolError):
        encoding.check_depth(encoding.encode([[[value]]]), 10)
