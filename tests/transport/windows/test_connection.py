"""npipe.transport.windows.connection, on the fake kernel."""

from __future__ import annotations

import copy
import errno
import io
import time
from collections.abc import Iterator
from typing import Any

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.windows import connect as windows
from npipe.transport.windows import connection as connection_module
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.kernel32 import (
    FILE_FLAG_OVERLAPPED,
)
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.overlapped import Direction
from npipe.transport.windows.winerror import transfer_error
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import ADDRESS, Pair, Spawn, connect, listen, past, soon


def test_b01_past_deadline_fails_at_once(pair: Pair) -> None:
    client, _ = pair
    client.set_deadline(past())
    with pytest.raises(TimeoutError):
        client.read(1)
    with pytest.raises(TimeoutError) as caught:
        client.write(b"x")
    assert caught.value.characters_written == 0  # type: ignore[attr-defined]


def test_b02_new_deadline_reaches_the_call_in_flight(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, _ = pair
    reading = spawn(client.read, 1)
    fake.pending()
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        reading.result(60)


def test_b02_a_deadline_put_off_does_not_cut_a_write(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    client.set_write_deadline(time.monotonic() + 600)
    writing = spawn(client.write, bytes(100_000))
    fake.pending()
    client.set_write_deadline(time.monotonic() + 1200)
    fake.until(lambda: fake.made("ResetEvent"))  # or it would go on without ever waiting
    client.set_write_deadline(None)
    assert sum(len(server.read(65536)) for _ in range(2)) == 100_000
    assert writing.result(60) == 100_000
    assert fake.made("CancelIoEx") == []


def test_b03_past_deadline_fails_what_could_succeed(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    server.write(b"here already")
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        client.read(1)
    assert fake.made("ReadFile") == []
    client.set_read_deadline(None)
    assert client.read(100) == b"here already"


def test_b13_lifted_deadline(pair: Pair) -> None:
    client, server = pair
    client.set_deadline(past())
    client.set_deadline(None)
    server.write(b"x")
    assert client.read(1) == b"x"


def test_nan_is_no_deadline(pair: Pair) -> None:
    with pytest.raises(ValueError, match="NaN"):
        pair[0].set_deadline(float("nan"))


@pytest.mark.parametrize("call", range(6))
def test_b09_no_event_to_be_had(fake: FakeKernel32, call: int) -> None:
    """Wherever the system has no event left, the error is seen and nothing is leaked."""
    fake.fail("CreateEvent", *[0] * call, 8)
    with pytest.raises(OSError, match="8"):  # noqa: SIM117
        with listen(fake, backlog=2) as listener, connect(fake), listener.accept(0.001):
            fake.fail("CreateEvent", 8)
            connect(fake)


def test_b10_counts_come_from_the_overlapped_result(fake: FakeKernel32, message_pair: Pair) -> None:
    client, server = message_pair
    client.write(b"0123456789")
    assert [server.read(4) for _ in range(3)] == [b"0123", b"4567", b"89"]


@pytest.mark.parametrize("code", [109, 233])
def test_b11_ends_of_the_stream(fake: FakeKernel32, pair: Pair, code: int) -> None:
    client, _ = pair
    fake.fail("ReadFile", code)
    assert client.read(1) == b""
    assert client.read(1) == b""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (64, ConnectionResetError),
        (109, BrokenPipeError),
        (232, BrokenPipeError),
        (233, BrokenPipeError),
        (1450, OSError),
    ],
)
def test_b11_failed_writes(
    fake: FakeKernel32, pair: Pair, code: int, expected: type[OSError]
) -> None:
    client, _ = pair
    fake.fail("WriteFile", code)
    with pytest.raises(expected) as caught:
        client.write(b"x")
    assert caught.value.characters_written == 0  # type: ignore[attr-defined]


def test_b11_lost_network_is_no_end(fake: FakeKernel32, pair: Pair) -> None:
    fake.fail("ReadFile", 64)
    with pytest.raises(ConnectionResetError):
        pair[0].read(1)


def test_b11_disconnected_by_the_server(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    fake.DisconnectNamedPipe(server.fileno())
    assert client.read(1) == b""
    with pytest.raises(BrokenPipeError):
        client.write(b"x")


def test_has_gone_does_not_wait_for_a_read(fake: FakeKernel32, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    reading = spawn(client.read, 1)
    fake.pending()
    assert not client.has_gone()
    server.write(b"x")
    assert reading.result(60) == b"x"


def test_b14_double_close_closes_each_handle_once(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, _ = pair
    for closing in [spawn(client.close) for _ in range(10)]:
        closing.result(60)
    client.close()
    assert client.closed


def test_b15_no_call_reaches_the_kernel_after_close(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    client.close()
    before = len(fake.calls)
    for call in (client.read, client.flush, client.close_write, client.fileno):
        with pytest.raises(ClosedError):
            call()
    with pytest.raises(ClosedError):
        client.write(b"x")
    with pytest.raises(ClosedError):
        _ = client.peer
    assert len(fake.calls) == before


def test_close_does_not_disconnect(fake: FakeKernel32, pair: Pair) -> None:
    """DisconnectNamedPipe would take from the client what it has not read yet."""
    client, server = pair
    server.write(b"last words")
    server.close()
    assert fake.made("DisconnectNamedPipe") == []
    assert client.read() == b"last words"


def test_half_close(message_pair: Pair) -> None:
    client, server = message_pair
    client.write(b"question")
    client.close_write()
    client.close_write()
    with pytest.raises(ClosedError):
        client.write(b"x")
    assert server.read() == b"question"
    assert server.read(1) == b""
    server.write(b"answer")
    assert client.read(100) == b"answer"


def test_the_end_mark_is_not_swallowed_with_the_data_before_it(message_pair: Pair) -> None:
    for writer, reader in (message_pair, message_pair[::-1]):
        writer.write(b"data")
        writer.close_write()
        assert reader.read(100) == b"data"
        assert reader.read(100) == b""


def test_an_empty_write_is_no_end_mark(fake: FakeKernel32, message_pair: Pair) -> None:
    client, server = message_pair
    assert client.write(b"") == 0
    assert fake.made("WriteFile") == []
    client.write(b"x")
    assert server.read(10) == b"x"


def test_a_cut_close_write_can_be_repeated(fake: FakeKernel32, message_pair: Pair) -> None:
    client, server = message_pair
    client.set_write_deadline(past())
    with pytest.raises(TimeoutError):
        client.close_write()
    client.set_write_deadline(None)
    client.close_write()
    assert server.read(1) == b""


def test_flush_waits_until_the_other_end_has_read(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    client.flush()
    client.write(b"12")
    flushing = spawn(client.flush)
    fake.waiting()
    assert server.read(1) == b"1"
    assert not flushing.done()
    assert server.read(1) == b"2"
    flushing.result(60)


def test_flush_goes_by_the_write_deadline(fake: FakeKernel32, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    client.write(b"unread")
    client.set_write_deadline(soon())
    with pytest.raises(TimeoutError):
        client.flush()
    client.set_write_deadline(None)
    flushing = spawn(client.flush)
    fake.waiting()
    client.set_write_deadline(past())
    with pytest.raises(TimeoutError):
        flushing.result(60)
    client.set_write_deadline(None)
    assert client.write(b"!") == 1  # nothing is lost or poisoned by it
    assert server.read(100) == b"unread!"


def test_close_ends_a_flush(fake: FakeKernel32, pair: Pair, spawn: Spawn) -> None:
    client, _ = pair
    client.write(b"unread")
    flushing = spawn(client.flush)
    fake.waiting()
    client.close()
    with pytest.raises(ClosedError):
        flushing.result(60)


def test_flush_to_the_gone(fake: FakeKernel32, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    client.write(b"unread")
    flushing = spawn(client.flush)
    fake.waiting()
    server.close()
    with pytest.raises(BrokenPipeError):
        flushing.result(60)


def test_adopt(fake: FakeKernel32, listener: WindowsListener) -> None:
    _, handle = fake.CreateFile(ADDRESS.path, 0x12019B, FILE_FLAG_OVERLAPPED)
    with (
        WindowsConnection.adopt(handle, ADDRESS, api=fake) as client,
        listener.accept(60) as server,
    ):
        client.write(b"x")
        assert server.read(1) == b"x"


def test_adopt_refuses_what_would_hang(
    fake: FakeKernel32, listener: WindowsListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, handle = fake.CreateFile(ADDRESS.path, 0x12019B, 0)
    monkeypatch.setattr(fake, "is_overlapped", lambda _: False)
    with pytest.raises(ValueError, match="FILE_FLAG_OVERLAPPED"):
        WindowsConnection.adopt(handle, ADDRESS, api=fake)
    with pytest.raises(OSError):
        WindowsConnection.adopt(12345, ADDRESS, api=fake)
    fake.CloseHandle(handle)


# -- Windows faults


@pytest.mark.parametrize("code", [53, 59, 64, 121, 240, 1231, 1236])
def test_w20_a_lost_network_link_is_a_reset_and_no_timeout(
    fake: FakeKernel32, pair: Pair, code: int
) -> None:
    client, _ = pair
    fake.fail("ReadFile", code)
    with pytest.raises(ConnectionResetError):
        client.read(1)
    fake.fail("WriteFile", code)
    with pytest.raises(ConnectionResetError):
        client.write(b"x")
    assert isinstance(transfer_error(code), ConnectionResetError)


class Huge:
    """Reports a buffer of n times 4 GiB without its memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


def test_w19_a_buffer_of_4_gib_is_no_buffer_of_nothing(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    server.write(b"x")
    sizes: list[int] = []
    monkeypatch.setattr(connection_module, "address_of", lambda view: view)

    def transfer(_: Direction, call: Any, buffer: Any, size: int, due: Any) -> tuple[int, int]:
        sizes.append(size)
        return 0, 1

    monkeypatch.setattr(Direction, "transfer", transfer)
    assert client._read(Huge(1 << 32)) == 1  # type: ignore[arg-type]
    assert sizes == [1 << 30]


FAR = Address("pipe", r"\\far\pipe\test", "far")


@pytest.fixture
def far_pair(fake: FakeKernel32) -> Iterator[Pair]:
    """A client on another computer, and the server's end."""
    fake.remote = True
    with (
        windows.listen(ADDRESS, reject_remote=False, api=fake) as listener,
        windows.connect(FAR, api=fake) as client,
        listener.accept(60) as server,
    ):
        yield client, server


@pytest.mark.parametrize("size", [65_535, 65_536, 200_000])
def test_w02_a_write_to_another_computer_goes_in_parts_of_65535_bytes(
    fake: FakeKernel32, far_pair: Pair, spawn: Spawn, size: int
) -> None:
    client, server = far_pair
    reading = spawn(lambda: b"".join(iter(lambda: server.read(65536), b"")))
    assert client.write(bytes(size)) == size
    client.close()
    assert len(reading.result(60)) == size
    assert max(written for _, written in fake.made("WriteFile")) == 65_535


def test_w02_a_message_that_another_computer_cannot_take_is_refused_before_it_is_sent(
    fake: FakeKernel32,
) -> None:
    fake.remote = True
    with (
        windows.listen(ADDRESS, reject_remote=False, message_mode=True, api=fake) as listener,
        windows.connect(FAR, api=fake) as client,
        listener.accept(60) as server,
    ):
        with pytest.raises(OSError, match="at most 65535") as caught:
            client.write(bytes(65_536))
        assert caught.value.errno == errno.EMSGSIZE
        assert fake.made("WriteFile") == []
        client.write(bytes(65_535))
        assert len(server.read(65_536)) == 65_535


def test_w11_flush_asks_the_quota_before_it_waits(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    client.write(b"x")
    assert server.read(1) == b"x"
    client.flush()
    assert fake.made("FlushFileBuffers") == []


# -- abilities


@pytest.mark.parametrize(("ours", "theirs"), [("r", "w"), ("w", "r")])
def test_one_way_pipes(fake: FakeKernel32, ours: str, theirs: str) -> None:
    with listen(fake, mode=theirs) as listener:
        with pytest.raises(PermissionError):
            connect(fake)
        with connect(fake, mode=ours) as client, listener.accept(60) as server:
            writer, reader = (client, server) if ours == "w" else (server, client)
            assert (writer.readable(), writer.writable()) == (False, True)
            assert (reader.readable(), reader.writable()) == (True, False)
            writer.write(b"x")
            assert reader.read(1) == b"x"
            with pytest.raises(io.UnsupportedOperation):
                reader.write(b"x")
            with pytest.raises(io.UnsupportedOperation):
                writer.read(1)


def test_no_other_mode(fake: FakeKernel32) -> None:
    with pytest.raises(ValueError, match="mode="):
        listen(fake, mode="x")
    with pytest.raises(ValueError, match="mode="):
        connect(fake, mode="")


def test_detach_gives_the_handle_away(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    handle = client.detach()
    with pytest.raises(ClosedError):
        client.read(1)
    with pytest.raises(ClosedError):
        client.detach()
    with WindowsConnection.adopt(handle, ADDRESS, api=fake) as again:
        again.write(b"x")
        assert server.read(1) == b"x"


def test_detach_ends_the_calls_in_flight_first(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, _ = pair
    reading = spawn(client.read, 1)
    fake.pending()
    handle = client.detach()
    with pytest.raises(ClosedError):
        reading.result(60)
    fake.CloseHandle(handle)


def test_detach_loses_no_byte_that_was_read(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    server.write(b"x")
    assert client.wait_readable(10)
    with pytest.raises(ValueError, match="1 bytes were read"):
        client.detach()
    assert client.read(1) == b"x"
    fake.CloseHandle(client.detach())


def test_wait_readable_takes_nothing(pair: Pair) -> None:
    client, server = pair
    assert not client.wait_readable(0)
    assert not client.wait_readable(0.01)
    server.write(b"12")
    assert client.wait_readable(60)
    assert client.wait_readable(0)
    assert client.read(1) == b"1"
    assert client.wait_readable(0)
    assert client.read(10) == b"2"
    server.close()
    assert client.wait_readable(60)  # the end counts
    assert client.read(1) == b""


def test_wait_readable_goes_by_the_read_deadline(pair: Pair) -> None:
    client, _ = pair
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        client.wait_readable(60)
    client.set_read_deadline(soon())
    with pytest.raises(TimeoutError):
        client.wait_readable()
    client.close()
    with pytest.raises(ClosedError):
        client.wait_readable(0)


def test_messages_keep_their_boundaries(message_pair: Pair) -> None:
    client, server = message_pair
    for message in (b"one", b"two", b"three"):
        client.write(message)
    assert server.wait_readable(60)
    assert [server.read(100) for _ in range(3)] == [b"one", b"two", b"three"]


def test_a_connection_is_neither_copied_nor_pickled(pair: Pair) -> None:
    with pytest.raises(TypeError):
        copy.copy(pair[0])
