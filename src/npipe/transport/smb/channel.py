"""One open pipe as a state machine: SMB2 messages on the network side, bytes on the pipe side.

It has no lock, thread, clock or socket. ``connection.py`` drives it with threads and
``npipe.aio.smb`` with an event loop. The driver calls

* ``receive`` with received bytes, and sends the result of ``outgoing`` after every other call;
* ``request_read``, and takes the data by ``take``, until ``ended``;
* ``start_write`` while not ``writing``, and then ``finish_write``;
* ``tick`` at intervals while a reply is awaited.

``failed`` is set once the connection is unusable: it is the error that later calls raise.
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

CREDIT_SIZE: Final = 65536  # bytes per credit (MS-SMB2, 3.1.5.2)
# One READ and one WRITE at a time: a server may process requests of one connection in any order
# (Samba does not, Windows has several threads). Sending a READ ahead gains nothing: processor
# time limits the stream, not round trips.
READ_SIZE: Final = 65536  # bytes of one READ; Samba never returns more at once
WRITE_SIZE: Final = 16 * CREDIT_SIZE  # bytes of one WRITE, at most
RESERVE: Final = 2  # credits kept for a CLOSE and an ECHO
CREDITS: Final = 32  # the number to request
FRAME_LIMIT: Final = READ_SIZE + 4096  # bytes; larger than any reply to these requests


class Opened(NamedTuple):
    """An open pipe, as the handshake returns it."""

    seal: Seal
    session_id: int
    tree_id: int
    file_id: bytes
    message_id: int
    """The next message id that the client may use."""
    credits: int
    """The number of credits."""
    multi_credit: bool
    """Whether a message may use several credits (SMB 2.1)."""
    max_write: int


class Channel:
    """Reads, writes and echo requests on one open pipe."""

    def __init__(self, opened: Opened) -> None:
        self.failed: OSError | None = None
        self.ended: bool = False
        """Whether the pipe's server has closed the pipe: no more data will arrive."""
        self.received: bytearray = bytearray()
        """Received data that was not taken yet."""
        self.writing: bool = False
        """Whether a write waits for the reply of the server."""
        self._opened = opened
        self._seal = opened.seal
        self._next_id = opened.message_id
        self._credits = opened.credits
        self._out: list[memoryview] = []
        self._in = bytearray()
        self._asked: dict[int, int] = {}  # message id and command of requests without a reply
        self._reading = False
        self._wrote: tuple[int, int] | None = (
            None  # status and count of the last write that was answered
        )
        self._heard = True

    @property
    def answered(self) -> bool:
        """Tell whether ``finish_write`` has a result."""
        return self._wrote is not None

    @property
    def awaits(self) -> bool:
        """Tell whether a reply of the server is missing."""
        return bool(self._asked)

    def outgoing(self) -> list[memoryview]:
        """Return the bytes to send, in order, and remove them."""
        frames, self._out = self._out, []
        return frames

    def receive(self, data: bytes) -> None:
        """Process received bytes; ``b""`` is the end of the network connection."""
        if self.failed is not None:
            return
        if not data:
            self.fail(
                ConnectionResetError(errno.ECONNRESET, "the SMB server has closed the connection")
            )
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
            text = f"a reply was tampered with, or the server is faulty: {error}"
            self.fail(ConnectionAbortedError(errno.ECONNABORTED, text))

    def fail(self, error: OSError) -> None:
        """Make every later call raise ``error``. Only the first error is kept."""
        if self.failed is None:
            self.failed = error
            self._in.clear()
            self._out.clear()

    def request_read(self) -> bool:
        """Request data, unless a request is in flight. The reply may arrive at any later time.

        Return whether there is data to take already.
        """
        if not self._reading and not self.ended and self._credits > 0:
            self._reading = True
            self._ask(READ, messages.read_body(self._opened.file_id, READ_SIZE))
        return bool(self.received) or self.ended

    def take(self, size: int) -> bytes:
        """Return received data, at most ``size`` bytes."""
        data = bytes(memoryview(self.received)[:size])
        del self.received[:size]
        return data

    def start_write(self, data: memoryview) -> int:
        """Request to write the start of ``data``; return its length in bytes.

        Only while not ``writing``. 0 means that the server must grant credits first, which it does
        with the replies to requests in flight.
        """
        size = min(len(data), WRITE_SIZE, self._opened.max_write)
        size = min(size, self._affordable())
        if size:
            self.writing = True
            self._wrote = None
            self._ask(WRITE, messages.write_body(self._opened.file_id, size), data[:size])
        return size

    def finish_write(self) -> int:
        """Return the number of bytes that the server has written. Raises OSError."""
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
        """Fail if the server has not answered the last echo request; otherwise send one.

        Does neither if data has arrived since the last call, because then the server is alive.
        """
        if self._heard or self.failed is not None:
            self._heard = False
        elif ECHO in self._asked.values():
            text = "the SMB server has stopped answering"
            self.fail(ConnectionResetError(errno.ECONNRESET, text))
        elif self._credits > 0:
            self._ask(ECHO, messages.echo_body())

    def _affordable(self) -> int:
        """Return the largest size of a write, in bytes, for the present credits."""
        if not self._opened.multi_credit:
            return CREDIT_SIZE if self._credits > RESERVE or self._is_last() else 0
        left = self._credits - RESERVE
        if left <= 0 and self._is_last():
            left = self._credits
        return max(0, left) * CREDIT_SIZE

    def _is_last(self) -> bool:
        """Tell whether no request is in flight whose reply could bring more credits."""
        return not self._asked and self._credits > 0

    def _ask(self, command: int, body: bytes, data: bytes | memoryview = b"") -> None:
        """Queue a request. ``data`` is its payload, whose size decides the number of credits."""
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
        """Process the responses, usually one, of one frame."""
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
            return  # an oplock break, which pipes do not have: ignore it
        if self._asked.get(head.message_id) != head.command:
            raise ValueError("a reply without a request")
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
                raise ValueError("more data than requested")
            self.received += data
            # A message of no bytes is the end of the stream on a pipe of the message type.
            self.ended = not data


def _size(data: bytearray | memoryview) -> int:
    """Return the size of the frame at the start of ``data``; 0 while its length is incomplete."""
    size = int.from_bytes(data[:4], "big") if len(data) >= 4 else 0
    if size > FRAME_LIMIT:
        raise ValueError(f"a reply of {size} bytes to a request for fewer")
    return size
