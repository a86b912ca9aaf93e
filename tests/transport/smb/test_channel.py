"""The state machine of an open pipe, against a server in memory that does as MS-SMB2 says."""

from __future__ import annotations

import struct
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from npipe.transport.smb import messages
from npipe.transport.smb.channel import CREDIT_SIZE, Channel, Opened
from npipe.transport.smb.messages import CLOSE, ECHO, READ, WRITE
from npipe.transport.smb.sealing import HMAC, Signing

KEY, SESSION, TREE, FILE = bytes(16), 9, 5, bytes(range(16))
PENDING, END, CANCELLED, OVERFLOW = 0x103, 0xC00000B0, 0xC0000120, 0x80000005


class Server:
    """Answers what a channel asks, when the test says so."""

    def __init__(self, *, granted: int = 10, multi_credit: bool = True) -> None:
        self.seal = Signing(HMAC, KEY)
        opened = Opened(self.seal, SESSION, TREE, FILE, 3, granted, multi_credit, 1 << 20)
        self.channel = Channel(opened)
        self.asked: deque[tuple[int, int, bytes]] = deque()  # command, message id, body

    def collect(self) -> None:
        """Take what the channel sends."""
        data = b"".join(self.channel.outgoing())
        while data:
            size = int.from_bytes(data[:4], "big")
            message, data = data[4 : 4 + size], data[4 + size :]
            assert self.seal._sign(message[:48] + bytes(16) + message[64:], False) == message[48:64]
            command = struct.unpack_from("<H", message, 12)[0]
            id_, tree, session = struct.unpack_from("<Q4xIQ", message, 24)
            assert (tree, session) == (TREE, SESSION)
            self.asked.append((command, id_, message[64:]))

    def response(
        self, command: int, id_: int, body: bytes = b"", *, status: int = 0, granted: int = 1
    ) -> bytes:
        flags = 0x9 | (0x2 if status == PENDING else 0)
        head = struct.pack(
            "<4sHHIHHIIQIIQ",
            *(b"\xfeSMB", 64, 1, status, command, granted, flags, 0, id_, 0, TREE, SESSION),
        )
        message = head + bytes(16) + body
        message = message[:48] + self.seal._sign(message, True) + message[64:]
        return len(message).to_bytes(4, "big") + message

    def answer(self, body: bytes = b"", *, status: int = 0, granted: int = 1) -> bytes:
        """Return the response to the oldest request."""
        self.collect()
        command, id_, _ = self.asked.popleft()
        return self.response(command, id_, body, status=status, granted=granted)


def data(text: bytes) -> bytes:
    return struct.pack("<HBBIII", 17, 80, 0, len(text), 0, 0) + text


def written(count: int) -> bytes:
    return struct.pack("<HHIII", 17, 0, count, 0, 0)


def test_a_read_is_asked_for_once_and_what_comes_is_taken_in_parts():
    server = Server()
    channel = server.channel
    channel.request_read()
    channel.request_read()
    for byte in server.answer(data(b"hello")):  # however the network cuts it
        channel.receive(bytes((byte,)))
    assert not server.asked
    assert (channel.take(2), channel.take(100), channel.take(1)) == (b"he", b"llo", b"")


@pytest.mark.parametrize("cut", [1, 3, 100, 300, 1000])
def test_answers_are_found_however_the_network_cuts_them(cut):
    server = Server(granted=30)
    text, asked = b"", bytes(10_000)
    for number in range(10):
        server.channel.start_write(memoryview(asked))
        server.channel.request_read()
        server.collect()
        server.asked.rotate(1)
        text += bytes((number,)) * 200
        replies = server.answer(data(text[-200:])) + server.answer(written(len(asked)))
        for start in range(0, len(replies), cut):
            server.channel.receive(replies[start : start + cut])
        assert server.channel.finish_write() == len(asked)
    assert server.channel.take(10_000) == text


@pytest.mark.parametrize("status", [END, 0xC0000011, 0xC000014B])
def test_the_end(status):
    server = Server()
    server.channel.request_read()
    server.channel.receive(server.answer(status=status))
    assert server.channel.ended
    server.channel.request_read()
    server.collect()
    assert not server.asked  # nothing is asked after the end


def test_a_message_longer_than_a_read_is_data_and_an_empty_one_the_end():
    server = Server()
    server.channel.request_read()
    server.channel.receive(server.answer(data(b"first part"), status=OVERFLOW))
    server.channel.request_read()
    server.channel.receive(server.answer(data(b"")))
    assert (server.channel.take(100), server.channel.ended) == (b"first part", True)


def test_an_interim_response_is_none():
    server = Server()
    assert server.channel.start_write(memoryview(b"data")) == 4
    server.collect()
    command, id_, _ = server.asked[0]
    server.channel.receive(server.response(command, id_, status=PENDING, granted=1))
    assert server.channel.writing
    assert not server.channel.answered
    server.channel.receive(server.answer(written(4), granted=0))
    assert server.channel.finish_write() == 4


def test_a_write_to_a_closed_pipe():
    server = Server()
    server.channel.start_write(memoryview(b"data"))
    server.channel.receive(server.answer(status=END))
    with pytest.raises(BrokenPipeError):
        server.channel.finish_write()
    assert server.channel.failed is None


def test_a_read_that_fails_ends_the_connection():
    server = Server()
    server.channel.request_read()
    server.channel.receive(server.answer(status=CANCELLED))
    assert isinstance(server.channel.failed, ConnectionAbortedError)


@pytest.mark.parametrize("multi_credit", [True, False])
def test_no_more_is_asked_than_there_are_credits_for(multi_credit):
    server = Server(granted=4, multi_credit=multi_credit)
    channel, big = server.channel, memoryview(bytes(1 << 20))
    channel.request_read()
    taken = channel.start_write(big)
    assert taken == CREDIT_SIZE  # of the three credits left, two are kept
    server.collect()
    (_, first, _), (_, second, _) = server.asked
    assert (first, second) == (3, 4)
    server.asked.popleft()  # the read is not answered
    channel.receive(server.answer(written(taken), granted=0))
    assert channel.finish_write() == taken
    assert channel.start_write(big) == 0
    read = server.response(READ, 3, status=PENDING, granted=5)
    channel.receive(read)
    assert channel.start_write(big) == (5 if multi_credit else 1) * CREDIT_SIZE
    server.collect()
    channel.receive(server.answer(written(1)))
    channel.request_close()
    server.collect()
    assert server.asked[-1][:2] == (CLOSE, 5 + (5 if multi_credit else 1))


def test_signs_of_life():
    server = Server()
    channel = server.channel
    channel.request_read()
    channel.tick()  # something may have been heard before
    channel.tick()
    server.collect()
    assert [command for command, _, _ in server.asked] == [READ, ECHO]
    channel.receive(server.response(ECHO, 4))
    channel.tick()
    channel.tick()
    assert channel.failed is None
    channel.tick()
    assert isinstance(channel.failed, ConnectionResetError)


def test_a_hang_up():
    server = Server()
    server.channel.receive(b"")
    assert isinstance(server.channel.failed, ConnectionResetError)
    server.channel.receive(b"ignored")
    server.channel.request_close()
    assert not server.channel.outgoing()


@pytest.mark.parametrize(
    "junk",
    [
        (1 << 20).to_bytes(4, "big"),
        b"\0\0\0\x04abcd",
        b"\0\0\0\x40" + bytes(64),
        b"\xff\xff\xff\xff",
    ],
)
def test_junk_ends_the_connection(junk):
    server = Server()
    server.channel.receive(junk)
    assert isinstance(server.channel.failed, ConnectionAbortedError)


def test_replies_that_were_not_asked_for():
    for forge in (
        lambda server: server.response(READ, 99),
        lambda server: server.response(WRITE, 3, written(4)),  # 3 is a read
        lambda server: server.response(READ, 3, data(bytes(70_000))),
    ):
        server = Server()
        server.channel.request_read()
        server.channel.receive(forge(server))
        assert isinstance(server.channel.failed, ConnectionAbortedError)


def test_two_responses_in_one_frame_and_an_oplock_break():
    server = Server()
    channel = server.channel
    channel.request_read()
    channel.start_write(memoryview(b"data"))
    server.collect()
    first = bytearray(server.response(READ, 3, data(b"12345678"))[4:])
    first[20:24] = len(first).to_bytes(4, "little")
    first[48:64] = server.seal._sign(bytes(first[:48]) + bytes(16) + bytes(first[64:]), True)
    second = server.response(WRITE, 4, written(4))[4:]
    both = bytes(first) + second
    channel.receive(len(both).to_bytes(4, "big") + both)
    assert (channel.take(100), channel.finish_write()) == (b"12345678", 4)
    channel.receive(server.response(messages.OPLOCK_BREAK, messages.UNSOLICITED))
    assert channel.failed is None


class Conversation(RuleBasedStateMachine):
    """Any order of asking and answering: no byte is lost, doubled or out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(granted=6)
        self.channel = self.server.channel
        self.to_send, self.sent, self.arrived = bytes(range(256)) * 2000, 0, b""
        self.told, self.taken = b"", b""

    @rule()
    def ask_to_read(self) -> None:
        self.channel.request_read()

    @precondition(lambda self: not self.channel.writing and not self.channel.answered)
    @rule(size=st.integers(1, 300_000))
    def write(self, size: int) -> None:
        self.channel.start_write(memoryview(self.to_send)[self.sent : self.sent + size])

    @precondition(lambda self: self.channel.answered)
    @rule()
    def finish(self) -> None:
        self.sent += self.channel.finish_write()

    @rule(
        text=st.binary(min_size=1, max_size=100), granted=st.integers(0, 8), at=st.integers(0, 99)
    )
    def answer(self, text: bytes, granted: int, at: int) -> None:
        self.server.collect()
        if not self.server.asked:
            return
        self.server.asked.rotate(at % len(self.server.asked))  # in any order
        command, _, body = self.server.asked[0]
        if command == READ:
            self.told += text
            reply = data(text)
        elif command == WRITE:
            self.arrived += body[48:]
            reply = written(len(body) - 48)
        else:
            reply = b""
        self.channel.receive(self.server.answer(reply, granted=granted))

    @rule(size=st.integers(0, 200))
    def take(self, size: int) -> None:
        self.taken += self.channel.take(size)

    @rule()
    def tick(self) -> None:
        self.server.collect()
        if not any(command == ECHO for command, _, _ in self.server.asked):
            self.channel.tick()

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.channel.failed is None
        assert self.taken + bytes(self.channel.received) == self.told
        assert self.to_send.startswith(self.arrived)
        assert self.channel._credits >= 0
        if not self.channel.writing and not self.channel.answered:
            assert len(self.arrived) == self.sent


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=40)
