"""Four bytes with the length before each message."""

from __future__ import annotations

import pytest

from npipe.errors import ProtocolError, Truncated
from npipe.rpc.wire.length_prefix import LengthPrefix


def nothing(message: bytes, most: int) -> None:
    """No depth to check."""


def test_any_chunks_give_the_messages() -> None:
    texts = [b"a", b"bc" * 100, b"\x00\x00\x00\x01"]
    data = LengthPrefix(1000, 5, nothing).wrap(*texts)
    assert data.startswith(b"\x00\x00\x00\x01a\x00\x00\x00\xc8")
    for size in range(1, len(data) + 1):
        reader = LengthPrefix(1000, 5, nothing)
        found = [m for at in range(0, len(data), size) for m in reader.feed(data[at : at + size])]
        assert found == texts
        assert (reader.pending, reader.eof()) == (0, [])


def test_a_part_of_a_message_is_pending_and_an_error_at_the_end() -> None:
    reader = LengthPrefix(1000, 5, nothing)
    assert reader.feed(b"\x00\x00") == []
    assert reader.feed(b"\x00\x02x") == []
    assert reader.pending == 5
    with pytest.raises(Truncated):
        reader.eof()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x00\x00\x03\xe9", "longer than 1000 bytes"),
        (b"\xff\xff\xff\xff", "longer than 1000 bytes"),
        (b"\x00\x00\x00\x00", "the length 0"),
        (b'{"js', "use the same codec"),
        (b"Cont", "use the same codec"),
    ],
)
def test_what_is_no_length_ends_it(data: bytes, text: str) -> None:
    reader = LengthPrefix(1000, 5, nothing)
    with pytest.raises(ProtocolError, match=text):
        reader.feed(data)


def test_the_depth_is_that_of_the_encoding() -> None:
    def refuse(message: bytes, most: int) -> None:
        raise ProtocolError(f"{message!r} is deeper than {most}")

    with pytest.raises(ProtocolError, match="deeper than 5"):
        LengthPrefix(1000, 5, refuse).feed(b"\x00\x00\x00\x01x")
