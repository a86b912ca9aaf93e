"""Codecs by name, by encoding and as objects."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import npipe.rpc
from npipe.errors import ProtocolError
from npipe.rpc.wire.codec import CODECS, FRAMINGS, Codec, find_codec
from npipe.rpc.wire.content_length import ContentLength
from npipe.rpc.wire.json_encoding import JSON
from npipe.rpc.wire.json_stream import NDJSON, JSONStream
from npipe.rpc.wire.length_prefix import LengthPrefix
from npipe.rpc.wire.msgpack import MessagePack


@pytest.mark.parametrize("name", CODECS)
def test_a_codec_reads_the_messages_that_it_wraps(name: str) -> None:
    codec = find_codec(name)
    text = codec.encoding.request("m", codec.encoding.encode([1]), b"7")
    assert codec.frame().feed(codec.frame().wrap(text)) == [text]


def test_an_encoding_has_a_framing_of_its_own() -> None:
    assert find_codec(MessagePack()).framing == "length-prefix"
    assert isinstance(find_codec(MessagePack()).frame(), LengthPrefix)
    assert find_codec(JSON()).framing is JSONStream


def test_a_codec_is_taken_as_it_is() -> None:
    codec = Codec(NDJSON, JSON())
    assert find_codec(codec) is codec
    assert isinstance(codec.frame(), NDJSON)


def test_a_framing_checks_depth_as_the_encoding_counts_it() -> None:
    frame = Codec("content-length", MessagePack()).frame(max_depth=10)
    assert isinstance(frame, ContentLength)
    with pytest.raises(ProtocolError, match="deeper than 10"):
        frame.feed(frame.wrap(b"\x91" * 12 + b"\x01"))
    assert Codec("content-length", MessagePack()).frame(max_bytes=1, max_depth=10).pending == 0


@pytest.mark.parametrize("codec", ["xml", "JSON", ""])
def test_an_unknown_name_is_refused_with_the_names_there_are(codec: str) -> None:
    with pytest.raises(ValueError, match="json-stream, ndjson"):
        find_codec(codec)


def test_an_unknown_framing_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=", ".join(FRAMINGS)):
        Codec("xml", JSON())


@pytest.mark.parametrize("codec", [None, 5, JSON])
def test_what_is_no_codec_is_a_type_error(codec: Any) -> None:
    with pytest.raises(TypeError, match="a codec is a name, an Encoding or a Codec"):
        find_codec(codec)


def test_the_spelling_of_json_is_known_in_the_package_wire_only() -> None:
    """But for OpenRPC, which is JSON, and for the request of the seed, which has JSON in it."""
    root = Path(npipe.rpc.__file__).parent
    spelling = re.compile(r"""msgspec\.json|import json\b|b['"](null|true|false|[\[{]|,")""")
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if path.parent.name != "wire" and spelling.search(path.read_text("utf-8"))
    }
    assert found == {"service/openrpc.py", "service/seed_api.py"}
