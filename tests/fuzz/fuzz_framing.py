"""Whatever bytes come in whatever chunks: the same messages, none invented, within the limits.

Runs for ever with a coverage-guided fuzzer, which is no dependency of this project:

    pip install atheris
    python tests/fuzz/fuzz_framing.py [corpus directory] [-max_total_time=60]

The same check is driven by hypothesis in the normal run (``test_fuzz.py``).
"""

from __future__ import annotations

import sys

from npipe.errors import ProtocolError
from npipe.rpc.wire import framing
from npipe.rpc.wire.content_length import MAX_HEADER

KINDS = ("json-stream", "ndjson", "content-length", "auto")
MAX_BYTES, MAX_DEPTH = 200, 12


def check(data: bytes) -> None:
    """The first two bytes choose the framing and the size of the chunks; the rest is the stream."""
    if len(data) < 2:
        return
    kind, size, stream = KINDS[data[0] % len(KINDS)], data[1] % 20 + 1, data[2:]
    at_once, error = split(kind, [stream])
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    in_parts, error_in_parts = split(kind, chunks)
    # Whitespace after a broken message counts until its end is known, which chunks can delay.
    if "longer" not in error + error_in_parts:
        assert (in_parts, error_in_parts) == (at_once, error)
    assert all(len(message) <= MAX_BYTES for message in at_once + in_parts)
    if not error and kind == "json-stream":
        space = b" \t\r\n"
        assert b"".join(at_once).translate(None, space) == stream.translate(None, space)


def split(kind: str, chunks: list[bytes]) -> tuple[list[bytes], str]:
    """Return the messages and the text of the error, if any."""
    reader = framing.make(kind, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH)
    messages: list[bytes] = []
    try:
        for chunk in chunks:
            messages += reader.feed(chunk)
            assert reader.pending <= MAX_BYTES + MAX_HEADER + 4
        messages += reader.eof()
    except ProtocolError as error:
        return messages, str(error)
    return messages, ""


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
