"""SMB2 messages as bytes: MS-SMB2, section 2.2."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.transport.smb import messages
from npipe.transport.smb.messages import HEADER_SIZE, READ, WRITE


def response(body: bytes, command: int = READ, *, flags: int = 1) -> bytes:
    """A successful response to message 7, of session 9."""
    head = struct.pack("<4sHHIHHIIQIIQ", b"\xfeSMB", 64, 1, 0, command, 3, flags, 0, 7, 0, 1, 9)
    return head + bytes(16) + body


def test_a_request_is_what_smbprotocol_makes_of_it():
    from smbprotocol.open import SMB2CloseRequest, SMB2ReadRequest, SMB2WriteRequest

    file_id = bytes(range(16))
    read = SMB2ReadRequest()
    read["length"], read["file_id"] = 65536, file_id
    ours, theirs = messages.read_body(file_id, 65536), read.pack()
    assert ours[:2] + ours[3:] == theirs[:2] + theirs[3:]  # where the data is to stand: any will do
    write = SMB2WriteRequest()
    write["file_id"], write["buffer"] = file_id, b"data"
    assert messages.write_body(file_id, 4) + b"data" == write.pack()
    close = SMB2CloseRequest()
    close["file_id"] = file_id
    assert messages.close_body(file_id) == close.pack()


def test_a_header_there_and_back():
    sent = messages.header(READ, 7, 1, 9, charge=1, credit_request=3, flags=0)
    assert len(sent) == HEADER_SIZE
    with pytest.raises(ValueError, match="not a response"):
        messages.parse_header(sent)  # a request: a client gets none
    got = messages.parse_header(response(b""))
    assert (got.command, got.credits, got.message_id, got.session_id) == (READ, 3, 7, 9)


def test_the_data_of_a_read():
    body = struct.pack("<HBBIII", 17, 80, 0, 4, 0, 0) + b"data"
    assert messages.parse_read(response(body)) == b"data"
    assert messages.parse_read(response(struct.pack("<HBBIII", 17, 80, 0, 0, 0, 0))) == b""


@pytest.mark.parametrize(("start", "length"), [(80, 5), (0, 4), (79, 4), (255, 1), (80, 2**32 - 1)])
def test_data_that_lies_elsewhere_is_refused(start, length):
    body = struct.pack("<HBBIII", 17, start, 0, length, 0, 0) + b"data"
    with pytest.raises(ValueError, match="outside"):
        messages.parse_read(response(body))


def test_a_count_of_a_write():
    assert messages.parse_write(response(struct.pack("<HHIII", 17, 0, 65536, 0, 0), WRITE)) == 65536


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data):
    for parse in (messages.parse_header, messages.parse_read, messages.parse_write):
        for message in (data, response(data)):
            try:
                parse(message)
            except ValueError:
                continue
