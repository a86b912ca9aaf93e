"""Parameters to JSON, and outcomes to values."""

from __future__ import annotations

import pytest
from msgspec import Raw

from npipe.errors import ConnectionLost, ProtocolError, RPCError
from npipe.rpc.calling.results import (
    decode_result,
    decode_results,
    encode_params,
    progress_reader,
)
from npipe.rpc.wire.codec import CODECS

JSON = CODECS["json-stream"].encoding


def test_parameters() -> None:
    assert encode_params(JSON, (), None) == b""
    assert encode_params(JSON, (1, "a"), None) == b'[1,"a"]'
    assert encode_params(JSON, (), {}) == b"{}"
    assert encode_params(JSON, (), {"a": Raw(b"1.50")}) == b'{"a":1.50}'
    assert encode_params(JSON, (Raw(b"[1.50]"),), None) == b"[[1.50]]"
    with pytest.raises(TypeError, match="not both"):
        encode_params(JSON, (1,), {"a": 1})
    with pytest.raises(ValueError, match="NaN"):
        encode_params(JSON, (float("nan"),), None)


def test_a_result_is_decoded_to_its_type() -> None:
    assert decode_result(JSON, Raw(b"[1]"), list[int]) == [1]
    assert bytes(decode_result(JSON, Raw(b"[ 1]"), Raw)) == b"[ 1]"
    with pytest.raises(ProtocolError, match="does not fit result_type"):
        decode_result(JSON, Raw(b'"x"'), int)


@pytest.mark.parametrize("error", [RPCError("no"), ConnectionLost("gone", maybe_executed=True)])
def test_what_came_in_place_of_a_result_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        decode_result(JSON, error, int)
    assert caught.value is error


def test_a_batch_keeps_the_results_beside_what_failed() -> None:
    error = RPCError("no")
    assert decode_results(JSON, [Raw(b"1"), Raw(b"2")], int) == [1, 2]
    one, failed, wrong = decode_results(JSON, [Raw(b"1"), error, Raw(b'"x"')], int)
    assert (one, failed) == (1, error)
    assert isinstance(wrong, ProtocolError)


def test_progress() -> None:
    seen: list[object] = []
    read = progress_reader(JSON, seen.append)
    assert read is not None
    read(Raw(b'{"a":1}'))
    read(Raw())
    assert seen == [{"a": 1}, None]
    assert progress_reader(JSON, None) is None
