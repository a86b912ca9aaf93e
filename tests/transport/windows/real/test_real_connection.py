"""npipe.transport.windows.connection on a real kernel."""

from __future__ import annotations

import _thread
import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.windows import connect as windows
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.handles import open_client
from npipe.transport.windows.kernel32 import load
from npipe.transport.windows.listener import WindowsListener
from transport.conftest import no_thread_left
from transport.windows.real.ledger import Ledger, Pair, Spawn, past

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


def test_bytes_go_both_ways_and_end(pair: Pair) -> None:
    client, server = pair
    assert client.write(b"hello") == 5
    assert server.read(100) == b"hello"
    assert server.write(bytearray(b"world")) == 5
    assert client.read(3) == b"wor"
    assert client.read(100) == b"ld"
    server.close()
    assert client.read(1) == b""


def test_16_mib_in_one_write(pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    sent = os.urandom(16 << 20)
    writing = spawn(client.write, sent)
    got = bytearray()
    while len(got) < len(sent):
        got += server.read(1 << 20)
    assert got == sent
    assert writing.result(60) == len(sent)


def test_readinto_fills_the_callers_own_buffer_and_lets_it_go(pair: Pair) -> None:
    client, server = pair
    server.write(b"12345")
    buffer = bytearray(3)
    assert client.readinto(buffer) == 3
    assert client.readinto(memoryview(buffer)[1:]) == 2
    assert buffer == b"145"
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError) as held:
        client.readinto(buffer)
    buffer += b"can be resized"
    del held


def test_b01_b03_past_deadline_fails_at_once(pair: Pair) -> None:
    client, server = pair
    server.write(b"here already")
    client.set_deadline(past())
    with pytest.raises(TimeoutError):
        client.read(1)
    with pytest.raises(TimeoutError) as caught:
        client.write(b"x")
    assert caught.value.characters_written == 0  # type: ignore[attr-defined]
    client.set_deadline(None)
    assert client.read(100) == b"here already"


def test_b02_new_deadline_reaches_the_call_in_flight(api: Ledger, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    reading = spawn(client.read, 1)
    api.waits_in("ReadFile")
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        reading.result(60)
    writing = spawn(client.write, bytes(1 << 20))
    api.waits_in("WriteFile")
    client.set_write_deadline(past())
    with pytest.raises(TimeoutError):
        writing.result(60)
    server.write(b"x")
    client.set_read_deadline(None)
    assert client.read(1) == b"x"


def test_b04_timed_out_read_awaits_the_cancel(pair: Pair) -> None:
    """What comes after a read timed out does not land in its buffer."""
    client, server = pair
    buffers = []
    for _ in range(200):
        buffer = bytearray(16)
        client.set_read_deadline(time.monotonic() + 0.0005)
        with pytest.raises(TimeoutError):
            client.readinto(buffer)
        buffers.append(buffer)
        client.set_read_deadline(None)
        server.write(b"after the timeout")
        assert client.read(17) == b"after the timeout"
    assert all(buffer == bytes(16) for buffer in buffers)


def test_b05_deadlines_that_race_the_data_lose_no_byte(pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    sent = bytes(range(256)) * 40

    def write() -> None:
        for start in range(0, len(sent), 8):
            server.write(sent[start : start + 8])

    writing = spawn(write)
    got = bytearray()
    while len(got) < len(sent):
        client.set_read_deadline(time.monotonic() + 0.00005)
        with contextlib.suppress(TimeoutError):
            got += client.read(5)
    assert got == sent
    writing.result(60)


def test_b05_cut_write_poisons_and_tells_no_number(api: Ledger, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    writing = spawn(client.write, bytes(1 << 20))
    api.waits_in("WriteFile")
    assert len(server.read(1000)) == 1000  # part of it has been read: Windows will say 0
    client.set_write_deadline(past())
    with pytest.raises(TimeoutError) as caught:
        writing.result(60)
    assert not hasattr(caught.value, "characters_written")
    client.set_write_deadline(None)
    with pytest.raises(BrokenPipeError, match="cut"):
        client.write(b"x")


def test_b07_b12_thousands_of_timeouts_leave_nothing(api: Ledger, pair: Pair) -> None:
    client, _ = pair
    opened = api.opened
    with no_thread_left():
        for _ in range(2000):
            client.set_read_deadline(time.monotonic() + 0.00001)
            with pytest.raises(TimeoutError):
                client.read(1)
    assert api.opened == opened


def test_b11_every_way_to_go(pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    server.write(b"last words")
    server.close()
    assert client.read(100) == b"last words"
    assert client.read(100) == b""
    with pytest.raises(BrokenPipeError):
        client.write(b"x")


def test_b11_disconnected(pair: Pair) -> None:
    client, server = pair
    load().DisconnectNamedPipe(server.fileno())
    assert client.read(100) == b""
    with pytest.raises(BrokenPipeError):
        client.write(b"x")


def test_b11_calls_in_flight_hear_of_it(api: Ledger, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    reading, writing = spawn(client.read, 1), spawn(client.write, bytes(1 << 20))
    api.waits_in("ReadFile")
    api.waits_in("WriteFile")
    server.close()
    assert reading.result(60) == b""
    with pytest.raises(BrokenPipeError):
        writing.result(60)


def test_ctrl_c_reaches_a_read_of_the_main_thread(pair: Pair) -> None:
    client, server = pair
    presser = threading.Timer(0.05, _thread.interrupt_main)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        client.read(1)
    presser.join()
    server.write(b"goes on")
    assert client.read(100) == b"goes on"


def test_b14_b15_close_from_many_threads_and_use_after(pair: Pair, spawn: Spawn) -> None:
    client, _ = pair
    for closing in [spawn(client.close) for _ in range(20)]:
        closing.result(60)
    for call in (client.read, client.flush, client.close_write, client.fileno):
        with pytest.raises(ClosedError):
            call()


def test_b18_close_ends_calls_in_flight(api: Ledger, pair: Pair, spawn: Spawn) -> None:
    client, _ = pair
    calls = [spawn(client.read, 1), spawn(client.read, 1), spawn(client.write, bytes(1 << 20))]
    api.waits_in("ReadFile")
    api.waits_in("WriteFile")
    client.close()
    for call in calls:
        with pytest.raises(ClosedError):
            call.result(60)


def test_unclosed_is_warned_about(api: Ledger, listener: WindowsListener) -> None:
    client = windows.connect(listener.address, api=api)
    with pytest.warns(ResourceWarning, match="unclosed"):
        del client


def test_died_peer(listener: WindowsListener) -> None:
    code = "import sys; p = open(sys.argv[1], 'r+b', buffering=0); p.write(b'hi'); p.read(1)"
    command = [sys.executable, "-c", code, listener.address.path]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    with child, listener.accept(30) as server:
        assert server.read(100) == b"hi"
        child.kill()
        assert server.read(100) == b""


def test_half_close(message_pair: Pair) -> None:
    for writer, reader in (message_pair, message_pair[::-1]):
        writer.write(b"question")
        assert writer.write(b"") == 0
        writer.close_write()
        assert reader.read(100) == b"question"
        assert reader.read(100) == b""
        assert reader.read(100) == b""


def test_b10_a_message_longer_than_the_buffer(message_pair: Pair) -> None:
    client, server = message_pair
    client.write(b"0123456789")
    client.write(b"next")
    assert [server.read(4) for _ in range(4)] == [b"0123", b"4567", b"89", b"next"]


@pytest.mark.parametrize(("ours", "theirs"), [("r", "w"), ("w", "r")])
def test_one_way_pipes(api: Ledger, address: Address, ours: str, theirs: str) -> None:
    """A handle that only writes cannot be asked whether its other end is there."""
    with (
        windows.listen(address, mode=theirs, api=api) as listener,
        windows.connect(address, mode=ours, api=api) as client,
        listener.accept(5) as server,
    ):
        writer, reader = (client, server) if ours == "w" else (server, client)
        writer.write(b"news")
        assert reader.read(4) == b"news"
        for end in (reader, writer):
            end.flush()
            assert not end.has_gone()
        writer.close()
        assert reader.read(1) == b""
        assert reader.has_gone()


def test_flush(api: Ledger, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    client.write(b"12")
    client.set_write_deadline(time.monotonic() + 0.2)
    with pytest.raises(TimeoutError):
        client.flush()
    api.waits_in("FlushFileBuffers")
    client.set_write_deadline(None)
    flushing = spawn(client.flush)
    api.waits_in("FlushFileBuffers")
    assert server.read(1) == b"1"
    assert not flushing.done()
    assert server.read(1) == b"2"
    flushing.result(60)


def test_close_ends_a_flush(api: Ledger, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    client.write(b"unread")
    flushing = spawn(client.flush)
    api.waits_in("FlushFileBuffers")
    client.close()
    with pytest.raises(ClosedError):
        flushing.result(60)
    assert server.read(100) == b"unread"


def test_adopt(api: Ledger, listener: WindowsListener) -> None:
    code, handle = open_client(listener.address, "identification", api)
    assert not code
    client = WindowsConnection.adopt(handle, listener.address, api=api)
    with client, listener.accept(5) as server:
        client.write(b"x")
        assert server.read(1) == b"x"


def test_adopt_refuses_what_would_hang(api: Ledger, listener: WindowsListener) -> None:
    code, handle = api.CreateFile(listener.address.path, 0x12019B, 0)
    assert not code
    with pytest.raises(ValueError, match="FILE_FLAG_OVERLAPPED"):
        WindowsConnection.adopt(handle, listener.address, api=api)
    api.CloseHandle(handle)
    with pytest.raises(OSError):
        WindowsConnection.adopt(handle, listener.address, api=api)
