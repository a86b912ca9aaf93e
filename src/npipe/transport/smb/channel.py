"""One open pipe as a state machine: bytes of the network in and out, bytes of the pipe out and in.

No lock, thread, clock or socket is here; ``connection.py`` drives it with threads and
``npipe.aio.smb`` with a loop. The one in charge calls

* ``receive`` with what arrived, and sends what ``outgoing`` returns, after every other call;
* ``request_read``, and takes what comes by ``take``, until ``ended``;
* ``start_write`` while not ``writing``, and then ``finish_write``;
* ``tick`` every so often while something is awaited.

``failed`` is set once the connection is of no more use: it is the error to raise from then on.
"""

from __future__ import annotations

import errno
import struct
from typing import Final, NamedTuple

from npipe.transport.smb import messages
from npipe.transport.smb.messages import CLOSE, ECHO, READ, WRITE
from npipe.transport.smb.sealing import Seal
from npipe.transport.smb.status import OVERFLOW, PENDING, SUCCESS, is_end, stream_error

__all__ = ["CREDIT_SIZE", "READ_SIZE", "Channel", "Opened"]

CREDIT_SIZE: Final = 65536  # bytes that one credit pays for (MS-SMB2, 3.1.5.2)
# One READ and one WRITE at a time: a server may process requests of one connection in any order
# (Samba does not, Windows has several threads). A READ sent before its data is wanted gains
# nothing: the stream costs processor time, not round trips.
READ_SIZE: Final = 65536  # bytes of one READ: Samba returns less at once, whatever is asked for
WRITE_SIZE: Final = 16 * CREDIT_SIZE  # bytes of one WRITE, at most
RESERVE: Final = 2  # credits kept for a CLOSE and an ECHO
CREDITS: Final = 32  # how many a client asks to have
FRAME_LIMIT: Final = READ_SIZE + 4096  # bytes; more than any answer to what is asked here


class Opened(NamedTuple):
    """An open pipe, as the handshake leaves it."""

    seal: Seal
    session_id: int
    tree_id: int
    file_id: bytes
    message_id: int
    """The next one that the client may use."""
    credits: int
    """How many of them."""
    multi_credit: bool
    """Whether a message may cost several (SMB 2.1)."""
    max_write: int


class Channel:
    """Reads, writes and signs of life on one open pipe."""

    def __init__(self, opened: Opened) -> None:
        self.failed: OSError | None = None
        self.ended: bool = False
        """Whether the pipe's server has closed its end: no more will come than what has."""
        self.received: bytearray = bytearray()
        """What has come and was not taken yet."""
        self.writing: bool = False
        """Whether a write waits for the server's answer."""
        self._opened = opened
        self._seal = opened.seal
        self._next_id = opened.message_id
        self._credits = opened.credits
        self._out: list[memoryview] = []
        self._in = bytearray()
        self._asked: dict[int, int] = {}  # message id: command, of requests without an answer
        self._reading = False
        self._wrote: tuple[int, int] | None = None  # status and count, of the write answered last
        self._heard = True

    @property
    def answered(self) -> bool:
        """Whether ``finish_write`` has something to say."""
        return self._wrote is not None

    @property
    def awaits(self) -> bool:
        """Whether the server owes an answer."""
        return bool(self._asked)

    def outgoing(self) -> list[memoryview]:
        """Return what is to be sent, in this order, and forget it."""
        frames, self._out = self._out, []
        return frames

    def receive(self, data: bytes) -> None:
        """Take what has arrived; ``b""`` is the end of the network connection."""
        if self.failed is not None:
            return
        if not data:
            self.fail(ConnectionResetError(errno.ECONNRESET, "the SMB server has hung up"))
            return
        try:
            if self._in:
                self._in += data
                if len(self._in) < 4 + _size(self._in):
                    return
                data = bytes(self._in)
                self._in.clear()
            rest = memoryview(data)
            while len(rest) >= 4 + (size := _size(rest)):
                self._frame(rest[4 : 4 + size])
                rest = rest[4 + size :]
            self._in += rest
        except (ValueError, struct.error) as error:
            text = f"the connection was tampered with, or the server is at fault: {error}"
            self.fail(ConnectionAbortedError(errno.ECONNABORTED, text))

    def fail(self, error: OSError) -> None:
        """Let every call from now on raise ``error``; the first one stands."""
        if self.failed is None:
            self.failed = error
            self._in.clear()
            self._out.clear()

    def request_read(self) -> bool:
        """Ask for data, if that was not done already. The answer may come at any later time.

        Return whether there is something to take already.
        """
        if not self._reading and not self.ended and self._credits > 0:
            self._reading = True
            self._ask(READ, messages.read_body(self._opened.file_id, READ_SIZE))
        return bool(self.received) or self.ended

    def take(self, size: int) -> bytes:
        """Return what has come, at most ``size`` bytes."""
        data = bytes(memoryview(self.received)[:size])
        del self.received[:size]
        return data

    def start_write(self, data: memoryview) -> int:
        """Ask to write the start of ``data``; return its length in bytes.

        Only while not ``writing``. 0 means that the server has to grant credits first, which it
        does with the answers to what is under way.
        """
        size = min(len(data), WRITE_SIZE, self._opened.max_write)
        size = min(size, self._affordable())
        if size:
            self.writing = True
            self._wrote = None
            self._ask(WRITE, messages.write_body(self._opened.file_id, size), data[:size])
        return size

    def finish_write(self) -> int:
        """Return how many bytes the write that was answered wrote. Raises OSError."""
        assert self._wrote is not None
        (status, count), self._wrote = self._wrote, None
        if status != SUCCESS:
            raise stream_error(status)
        return count

    def request_close(self) -> None:
        """Ask the server to close the pipe."""
        if self.failed is None and self._credits > 0:
            self._ask(CLOSE, messages.close_body(self._opened.file_id))

    def tick(self) -> None:
        """Fail if the server has not answered a question for a sign of life; else ask for one.

        Not where something has come since the last call: that was one.
        """
        if self._heard or self.failed is not None:
            self._heard = False
        elif ECHO in self._asked.values():
            text = "the SMB server does not answer any more"
            self.fail(ConnectionResetError(errno.ECONNRESET, text))
        elif self._credits > 0:
            self._ask(ECHO, messages.echo_body())

    def _affordable(self) -> int:
        """Return how many bytes a write may have."""
        if not self._opened.multi_credit:
            return CREDIT_SIZE if self._credits > RESERVE or self._is_last() else 0
        left = self._credits - RESERVE
        if left <= 0 and self._is_last():
            left = self._credits
        return max(0, left) * CREDIT_SIZE

    def _is_last(self) -> bool:
        """Return whether nothing is under way that could bring more credits than there are."""
        return not self._asked and self._credits > 0

    def _ask(self, command: int, body: bytes, data: bytes | memoryview = b"") -> None:
        """Have a request sent; ``data`` is the rest of it, which several credits pay for."""
        opened = self._opened
        cost = max(0, len(data) - 1) // CREDIT_SIZE + 1
        head = messages.header(
            command,
            self._next_id,
            opened.tree_id,
            opened.session_id,
            charge=cost if opened.multi_credit else 0,
            credit_request=cost + max(0, CREDITS - self._credits),
            flags=self._seal.flags,
        )
        self._asked[self._next_id] = command
        self._next_id += cost
        self._credits -= cost
        self._out.append(self._seal.close(head + body, data))

    def _frame(self, frame: memoryview) -> None:
        """Take the responses, mostly one, in what stood between two lengths."""
        rest = memoryview(self._seal.open(frame))
        while True:
            next_ = messages.parse_header(rest).next_command
            if next_ > len(rest) or (next_ and next_ < messages.HEADER_SIZE):
                raise ValueError("a reply whose end lies outside of it")
            self._message(rest[:next_] if next_ else rest)
            if not next_:
                return
            rest = rest[next_:]

    def _message(self, message: memoryview) -> None:
        self._seal.check(message)
        head = messages.parse_header(message)
        if head.message_id == messages.UNSOLICITED and head.command == messages.OPLOCK_BREAK:
            return  # there are no oplocks on pipes, and it changes nothing here
        if self._asked.get(head.message_id) != head.command:
            raise ValueError("a reply to nothing that was asked")
        self._heard = True
        self._credits += head.credits
        if head.status == PENDING:
            return
        del self._asked[head.message_id]
        if head.command == READ:
            self._read_answered(head.status, message)
        elif head.command == WRITE:
            self.writing = False
            count = messages.parse_write(message) if head.status == SUCCESS else 0
            self._wrote = head.status, count

    def _read_answered(self, status: int, message: memoryview) -> None:
        self._reading = False
        if is_end(status):
            self.ended = True
        elif status not in (SUCCESS, OVERFLOW):
            self.fail(stream_error(status))
        else:
            data = messages.parse_read(message)
            if len(data) > READ_SIZE:
                raise ValueError("more data than was asked for")
            self.received += data
            # A message of no bytes is how a pipe of the message type says the end.
            self.ended = not data


def _size(data: bytearray | memoryview) -> int:
    """Return the size of the frame at the start of ``data``; 0 while its length is not there."""
    size = int.from_bytes(data[:4], "big") if len(data) >= 4 else 0
    if size > FRAME_LIMIT:
        raise ValueError(f"a reply of {size} bytes to a question for fewer")
    return size
