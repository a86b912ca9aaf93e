"""npipe.transport.windows.connection, on the fake kernel."""

from __future__ import annotations

import copy
import io
import time

import pytest

from npipe.errors import ClosedError
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.kernel32.constants import FILE_FLAG_OVERLAPPED
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.winerror import transfer_error
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import ADDRESS, Pair, Spawn, connect, listen, past


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
            for end in (reader, writer):
                end.flush()
                assert not end.has_gone()


def test_no_other_mode(fake: FakeKernel32) -> None:
    with pytest.raises(ValueError, match="mode="):
        listen(fake, mode="x")
    with pytest.raises(ValueError, match="mode="):
        connect(fake, mode="")


def test_disconnect_frees_the_name_and_takes_no_byte(fake: FakeKernel32, spawn: Spawn) -> None:
    with listen(fake) as listener, connect(fake) as client, listener.accept(60) as server:
        server.write(b"unread")
        assert not server.disconnect()
        disconnecting = spawn(server.disconnect, 60)
        fake.until(lambda: len(fake.made("has_unread")) > 2)
        assert client.read(100) == b"unread"
        assert disconnecting.result(60)
        assert not client.disconnect(60)  # a client has nothing to take away
        server.close()
        listener.close()
        with listen(fake):  # although the client keeps its handle
            assert client.read(1) == b""
        assert not server.disconnect(60)


def test_w03_without_disconnect_the_client_keeps_the_name(fake: FakeKernel32) -> None:
    with listen(fake) as listener:
        client = connect(fake)
        listener.accept(60).close()
    with client:
        with pytest.raises(OSError, match="still hold"):
            listen(fake)
        assert client.read(1) == b""


def test_disconnect_gives_up_in_time(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    server.write(b"unread")
    assert not server.disconnect(0.02)
    with server._writer.turn:
        assert client.read(100) == b"unread"
    fake.fail("DisconnectNamedPipe", 5)
    assert not server.disconnect()
    server.write(b"more")
    assert client.read(100) == b"more"


def test_a_thread_that_writes_is_not_disconnected(pair: Pair, spawn: Spawn) -> None:
    with pair[1]._writer.turn:
        assert not spawn(pair[1].disconnect).result(60)


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
    with pytest.raises(ValueError, match="has kept 1 bytes"):
        client.detach()
    assert client.read(1) == b"x"
    fake.CloseHandle(client.detach())


def test_messages_keep_their_boundaries(message_pair: Pair) -> None:
    client, server = message_pair
    for message in (b"one", b"two", b"three"):
        client.write(message)
    assert server.wait_readable(60)
    assert [server.read(100) for _ in range(3)] == [b"one", b"two", b"three"]


def test_a_connection_is_neither_copied_nor_pickled(pair: Pair) -> None:
    with pytest.raises(TypeError):
        copy.copy(pair[0])
