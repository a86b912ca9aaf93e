"""npipe.transport.windows.port, on the fake kernel: packets, waits, cancels, and memory."""

from __future__ import annotations

import io

import pytest

from npipe.errors import ClosedError
from npipe.transport.windows import connect as windows
from npipe.transport.windows import port as port_module
from npipe.transport.windows.kernel32.constants import WAIT_TIMEOUT
from npipe.transport.windows.port import CompletionPort
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.fake_kernel32.objects import Port
from transport.windows.faked import ADDRESS, QUOTA, Ours, Pair, Spawn, connect


def test_the_port_waits_for_what_was_cancelled(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    port = CompletionPort(fake)
    ours = Ours(pair[1], port)
    ours.channel.arm()
    fake.hold_events = True
    ours.connection.close()
    closing = spawn(port.close)
    fake.until(lambda: any(each.waiters for each in fake._all(Port)))
    assert not closing.done()
    fake.deliver()
    closing.result(60)
    assert not port.begun


def test_memory_of_what_never_ends_is_never_reused(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_module, "_PATIENCE", 0.01)
    monkeypatch.setattr(port_module, "_abandoned", abandoned := list[CompletionPort]())
    port = CompletionPort(fake)
    ours = Ours(pair[1], port)
    ours.channel.arm()
    fake.hold_events = True
    ours.connection.close()
    port.close()
    assert abandoned == [port]
    assert len(port.begun) == 1


def test_wake_ends_one_wait(fake: FakeKernel32, port: CompletionPort, spawn: Spawn) -> None:
    waiting = spawn(port.wait, 60_000)
    fake.until(lambda: any(each.waiters for each in fake._all(Port)))
    port.wake()
    assert waiting.result(60) == []
    port.wake()
    assert port.wait(60_000) == []
    assert port.wait(0) == []


def test_wake_after_close_does_nothing(fake: FakeKernel32) -> None:
    port = CompletionPort(fake)
    port.close()
    port.wake()
    assert not fake.made("PostQueuedCompletionStatus")


def test_a_handle_on_another_port_is_not_taken(
    fake: FakeKernel32, pair: Pair, port: CompletionPort
) -> None:
    other = CompletionPort(fake)
    server = pair[1]
    assert server.attach(other)
    assert server.attach(port) is None
    server.close()
    other.close()
    with pytest.raises(ClosedError):
        server.attach(port)


def test_without_a_port_nothing_is_read_or_written_now(pair: Pair) -> None:
    for call in (lambda: pair[1].read_now(1), lambda: pair[1].write_now(b"x")):
        with pytest.raises(io.UnsupportedOperation):
            call()


@pytest.mark.parametrize("call", ["CreateIoCompletionPort", "GetQueuedCompletionStatusEx"])
def test_errors_of_the_system(fake: FakeKernel32, call: str) -> None:
    fake.fail("CreateIoCompletionPort", *([8] if call == "CreateIoCompletionPort" else []))
    if call == "CreateIoCompletionPort":
        with pytest.raises(OSError):
            CompletionPort(fake)
        return
    port = CompletionPort(fake)
    fake.fail(call, 8)
    with pytest.raises(OSError):
        port.wait(0)
    port.close()


def test_other_operations_of_the_handle_queue_no_packet(
    fake: FakeKernel32, port: CompletionPort, spawn: Spawn
) -> None:
    """They have an event, and its low bit is set."""
    with windows.listen(ADDRESS, api=fake) as listener, connect(fake) as client:
        assert client.attach(port)
        with listener.accept(60) as server:
            reading = spawn(client.read, 5)
            fake.pending()
            server.write(b"hello")
            assert reading.result(60) == b"hello"
            writing = spawn(client.write, bytes(QUOTA + 1))
            fake.pending()
            assert len(server.read(QUOTA)) == QUOTA
            assert writing.result(60) == QUOTA + 1
            assert fake.GetQueuedCompletionStatusEx(port._port, 0) == (WAIT_TIMEOUT, [])
