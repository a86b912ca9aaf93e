"""Messages behind a header with their length."""

from __future__ import annotations

import pytest

from npipe.errors import ProtocolError
from npipe.rpc.wire import framing
from rpc.wire.streams import cut, feed_all


@pytest.mark.parametrize("size", [1, 3, 100])
def test_content_length(size: int) -> None:
    stream = (
        b"Content-Length: 2\r\n\r\n{}"
        b'content-type: application/vscode-jsonrpc; charset="UTF-8"\r\ncontent-length:3\r\n\r\n[1]'
        b"Content-Length: 0\r\n\r\nContent-Length: 4\r\n\r\nnull"
    )
    assert feed_all("content-length", cut(stream, [size])) == [b"{}", b"[1]", b"", b"null"]
    assert feed_all("auto", cut(b"\r\n" + stream, [size])) == [b"{}", b"[1]", b"", b"null"]


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: -1",
        b"Content-Length: 1_0",
        b"Content-Length: 9" + b"9" * 30,
        b"Content-Length: 1\r\nContent-Length: 2",
        b"X: y",
        b"Content-Length 3",
        b"Content-Length: 3\r\nContent-Type: text; charset=utf-16",
        b"X: " + b"y" * 5000,
        b"Content-Length: 1001",
    ],
)
def test_a_wrong_header_ends_the_reading(header: bytes) -> None:
    for size in (1, 4099, 10000):
        chunks = cut(header + b"\r\n\r\n{}", [size])
        assert feed_all("content-length", chunks, max_bytes=1000) == [b"ProtocolError"]


def test_a_header_that_never_ends_is_cut_off() -> None:
    reader = framing.make("content-length")
    with pytest.raises(ProtocolError, match="header"):
        for _ in range(1000):
            reader.feed(b"X: y\r\n" * 10)
    assert reader.pending == 0
