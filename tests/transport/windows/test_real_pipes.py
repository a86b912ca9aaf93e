"""The Windows backend on a real kernel: Windows, or Wine. Each B number is a bug of the seed.

What needs a fault on demand, or what Wine does not enforce, is in ``test_windows_fake.py``.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import npipe
from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport.windows import connect as windows
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.handles import open_client
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.winerror import ERROR_IO_PENDING
from transport.conftest import no_thread_left

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")

Pair = tuple[WindowsConnection, WindowsConnection]
Spawn = Callable[..., Future[Any]]


class Ledger(Kernel32):
    """The real calls, an account of the handles that they open, and word of calls that wait."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.opened = 0
        self._ledger_lock = threading.Lock()
        self._waiting = dict[str, threading.Semaphore]()
        for call in ("ReadFile", "WriteFile", "FlushFileBuffers", "WaitForMultipleObjects"):
            self._waiting[call] = threading.Semaphore(0)

    def waits_in(self, call: str) -> None:
        """Return when one more such call has begun to wait."""
        assert self._waiting[call].acquire(timeout=60)

    def ReadFile(self, *args: Any) -> int:  # noqa: N802
        return self._pending("ReadFile", super().ReadFile(*args))

    def WriteFile(self, *args: Any) -> int:  # noqa: N802
        return self._pending("WriteFile", super().WriteFile(*args))

    def _pending(self, call: str, code: int) -> int:
        if code == ERROR_IO_PENDING:
            self._waiting[call].release()
        return code

    def FlushFileBuffers(self, handle: int) -> int:  # noqa: N802
        self._waiting["FlushFileBuffers"].release()
        return super().FlushFileBuffers(handle)

    def WaitForMultipleObjects(self, handles: list[int], milliseconds: int) -> int:  # noqa: N802
        self._waiting["WaitForMultipleObjects"].release()
        return super().WaitForMultipleObjects(handles, milliseconds)

    def _note(self, result: tuple[int, int]) -> tuple[int, int]:
        with self._ledger_lock:
            if not result[0]:
                assert result[1] not in self.open
                self.open.add(result[1])
                self.opened += 1
        return result

    def CreateNamedPipe(self, *args: Any, **options: Any) -> tuple[int, int]:  # noqa: N802
        return self._note(super().CreateNamedPipe(*args, **options))

    def CreateFile(self, *args: Any) -> tuple[int, int]:  # noqa: N802
        return self._note(super().CreateFile(*args))

    def CreateEvent(self) -> tuple[int, int]:  # noqa: N802
        return self._note(super().CreateEvent())

    def CloseHandle(self, handle: int) -> int:  # noqa: N802
        with self._ledger_lock:
            self.open.remove(handle)  # before the system may give the number to somebody else
        code = super().CloseHandle(handle)
        assert not code
        return code


@pytest.fixture
def api() -> Iterator[Ledger]:
    """Every test ends with every handle closed, once."""
    api = Ledger()
    yield api
    assert api.open == set()


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Run a function in a thread; its future gives the result, or raises what it raised."""
    with ThreadPoolExecutor(max_workers=40) as pool:
        yield pool.submit


@pytest.fixture
def address() -> Address:
    return Address("pipe", rf"\\.\pipe\npipe-test-{uuid.uuid4()}")


@pytest.fixture
def listener(api: Ledger, address: Address) -> Iterator[WindowsListener]:
    with windows.listen(address, api=api) as listener:
        yield listener


@pytest.fixture
def pair(api: Ledger, listener: WindowsListener) -> Iterator[Pair]:
    client = windows.connect(listener.address, api=api)
    with client, listener.accept(5) as server:
        yield client, server


@pytest.fixture
def message_pair(api: Ledger, address: Address) -> Iterator[Pair]:
    with windows.listen(address, message_mode=True, api=api) as listener:
        client = windows.connect(address, api=api)
        with client, listener.accept(5) as server:
            yield client, server


def past() -> float:
    return time.monotonic() - 1


# -- bytes


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


def test_names_of_every_kind(api: Ledger, spawn: Spawn) -> None:
    unique = uuid.uuid4().hex
    longest = "\\\\.\\pipe\\" + unique + "x" * (256 - 9 - len(unique))
    for path in (rf"\\.\pipe\é漢字-😀 {unique}", rf"\\.\pipe\a\b\{unique}", longest):
        with windows.listen(Address("pipe", path), api=api) as listener:
            upper = Address("pipe", path.upper())
            with windows.connect(upper, api=api) as client, listener.accept(5) as server:
                client.write(b"x")
                assert server.read(1) == b"x"


# -- deadlines


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


# -- the other end


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


# -- close


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


# -- the listener


def test_b16_b20_b21_close_wakes_every_accept(
    api: Ledger, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = [spawn(listener.accept) for _ in range(5)]
    api.waits_in("WaitForMultipleObjects")
    listener.close()
    for each in accepting:
        with pytest.raises(ClosedError):
            each.result(60)
    with pytest.raises(ClosedError):
        listener.accept()


def test_accepted_connections_live_on(pair: Pair, listener: WindowsListener) -> None:
    client, server = pair
    listener.close()
    client.write(b"x")
    assert server.read(1) == b"x"
    with pytest.raises(OSError) as caught:  # the name is the connection's still
        windows.listen(listener.address)
    assert caught.value.errno == errno.EADDRINUSE


def test_b16_accept_races_close(api: Ledger, address: Address, spawn: Spawn) -> None:
    for _ in range(50):
        listener = windows.listen(address, api=api)
        accepting = spawn(listener.accept)
        closing = spawn(listener.close)
        with pytest.raises(ClosedError):
            accepting.result(60)
        closing.result(60)


def test_b22_clients_that_came_and_went(api: Ledger, listener: WindowsListener) -> None:
    before = len(api.open)
    for _ in range(100):
        windows.connect(listener.address, api=api).close()
        with pytest.raises(TimeoutError):
            listener.accept(0)
    assert len(api.open) == before


def test_b22_a_client_that_left_data_is_served(api: Ledger, listener: WindowsListener) -> None:
    with windows.connect(listener.address, api=api) as client:
        client.write(b"fire and forget")
    with listener.accept(5) as server:
        assert server.read() == b"fire and forget"


def test_b23_no_client_finds_the_name_gone_or_stays_out(
    api: Ledger, listener: WindowsListener, spawn: Spawn
) -> None:
    def visit() -> None:
        for _ in range(20):
            with windows.connect(listener.address, timeout=60, api=api) as client:
                client.write(b"x")
                assert client.read(1) == b"y"

    visiting = [spawn(visit) for _ in range(5)]
    for _ in range(100):
        with listener.accept(30) as server:
            assert server.read(1) == b"x"
            server.write(b"y")
    for each in visiting:
        each.result(60)


def test_b24_the_name_is_exclusive(listener: WindowsListener) -> None:
    with pytest.raises(OSError, match="served already") as caught:
        windows.listen(listener.address)
    assert caught.value.errno == errno.EADDRINUSE


def test_relisten(api: Ledger, address: Address) -> None:
    for _ in range(5):
        windows.listen(address, api=api).close()
        assert not windows.exists(address)


def test_b25_a_timed_out_accept_keeps_its_instance(api: Ledger, listener: WindowsListener) -> None:
    for timeout in (0, 0.001, -1):
        with pytest.raises(TimeoutError):
            listener.accept(timeout)
    with windows.connect(listener.address, api=api), listener.accept(5):
        pass


def test_b25_the_thread_that_waited_has_ended(
    api: Ledger, listener: WindowsListener, spawn: Spawn
) -> None:
    """Windows ends a thread's operations with the thread."""

    def wait_in_vain() -> None:
        with pytest.raises(TimeoutError):
            listener.accept(0.01)

    for _ in range(3):
        thread = threading.Thread(target=wait_in_vain)
        thread.start()
        thread.join()
        with windows.connect(listener.address, api=api), listener.accept(5):
            pass


# -- connecting


def test_b26_no_server(address: Address) -> None:
    with pytest.raises(FileNotFoundError):
        windows.connect(address)
    with pytest.raises(TimeoutError):
        windows.connect(address, wait=True, timeout=0.02)


def test_b26_a_server_that_comes_late(api: Ledger, address: Address, spawn: Spawn) -> None:
    connecting = spawn(windows.connect, address, wait=True, timeout=60, api=api)
    with windows.listen(address, api=api) as listener, listener.accept(30):
        connecting.result(60).close()


def test_b27_b28_busy(api: Ledger, address: Address, spawn: Spawn) -> None:
    with windows.listen(address, backlog=2, api=api) as listener:
        waiting = [windows.connect(address, timeout=0, api=api) for _ in range(2)]
        with pytest.raises(TimeoutError, match="busy"):
            windows.connect(address, timeout=0.01)
        connecting = spawn(windows.connect, address, timeout=60, api=api)
        servers = [listener.accept(30) for _ in range(3)]
        for each in [*servers, *waiting, connecting.result(60)]:
            each.close()


def test_b29_errors_are_builtins(address: Address) -> None:
    with pytest.raises(ValueError, match="pipe"):
        windows.connect(Address("unix", "C:/x"))
    with pytest.raises(ValueError, match="another computer"):
        windows.listen(Address("pipe", r"\\127.0.0.1\pipe\x", "127.0.0.1"))


def test_b30_another_computer_that_is_not_there() -> None:
    with pytest.raises(OSError):
        far = Address("pipe", r"\\npipe-no-such-host\pipe\x", "npipe-no-such-host")
        windows.connect(far, timeout=5)


# -- security


def test_b31_only_the_owner(api: Ledger, pair: Pair) -> None:
    """The descriptor as the kernel has it, read back from both ends."""
    client, server = pair
    _, user, _ = api.process_sids()
    for end in (client, server):
        assert api.pipe_dacl(end.fileno()) == (0, f"D:P(A;;FA;;;{user})(A;;FA;;;SY)")
        assert api.pipe_owner(end.fileno()) == (0, user)


def test_b31_everyone(api: Ledger, address: Address) -> None:
    listener = windows.listen(address, access="everyone", api=api)
    with listener, windows.connect(address, api=api) as client, listener.accept(5):
        assert api.pipe_dacl(client.fileno())[1].endswith("(A;;0x12019b;;;WD)")


def test_bad_descriptor(address: Address) -> None:
    with pytest.raises(ValueError, match="no valid security descriptor"):
        windows.listen(address, access="D:(nonsense")


@pytest.mark.parametrize("message_mode", [False, True])
@pytest.mark.parametrize("reject_remote", [False, True])
@pytest.mark.parametrize("buffer_size", [0, 512, 1 << 20])
def test_b32_every_mixture_of_options_works(
    api: Ledger,
    address: Address,
    spawn: Spawn,
    message_mode: bool,
    reject_remote: bool,
    buffer_size: int,
) -> None:
    listener = windows.listen(
        address,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
        api=api,
    )
    client = windows.connect(address, api=api)
    with listener, client, listener.accept(5) as server:
        writing = spawn(client.write, b"x" * 2000)
        assert b"".join(server.read(500) for _ in range(4)) == b"x" * 2000
        assert writing.result(60) == 2000


@pytest.mark.parametrize("level", ["anonymous", "identification", "impersonation", "delegation"])
def test_b33_levels(api: Ledger, listener: WindowsListener, level: Any) -> None:
    with windows.connect(listener.address, impersonation=level, api=api), listener.accept(5):
        pass


def test_b34_identity(api: Ledger, listener: WindowsListener) -> None:
    _, user, _ = api.process_sids()
    seen: list[PeerIdentity] = []
    check = lambda peer: seen.append(peer) or True  # noqa: E731
    client = windows.connect(listener.address, verify_server=check, api=api)
    with client, listener.accept(5) as server:
        client.write(b"x")
        server.read(1)
        assert server.peer == client.peer == seen[0]
        assert (server.peer.sid, server.peer.pid) == (user, os.getpid())
        assert server.peer.session is not None


def test_b34_identity_across_processes(listener: WindowsListener) -> None:
    code = (
        "import sys, os; from npipe.address import Address; from npipe.transport import windows\n"
        "with windows.connect(Address('pipe', sys.argv[1]), verify_server='owner') as c:\n"
        "    c.write(b'%d %d' % (os.getpid(), c.peer.pid)); c.read()"
    )
    command = [sys.executable, "-c", code, listener.address.path]
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=env)
    with child, listener.accept(30) as server:
        pid, ours = map(int, server.read(100).split())
        assert server.peer.pid == pid
        assert ours == os.getpid()
        server.close()
    assert child.returncode == 0


def test_died_peer(listener: WindowsListener) -> None:
    code = "import sys; p = open(sys.argv[1], 'r+b', buffering=0); p.write(b'hi'); p.read(1)"
    command = [sys.executable, "-c", code, listener.address.path]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    with child, listener.accept(30) as server:
        assert server.read(100) == b"hi"
        child.kill()
        assert server.read(100) == b""


# -- message mode, flush, adopt, questions


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


def test_b37_exists_takes_no_instance(api: Ledger, address: Address) -> None:
    assert not windows.exists(address)
    with windows.listen(address, backlog=2, api=api) as listener:
        for _ in range(10):
            assert windows.exists(address)
        clients = [windows.connect(address, timeout=0, api=api) for _ in range(2)]
        assert windows.exists(address)
        for each in clients:
            listener.accept(0.5).close()
            each.close()
    assert not windows.exists(address)


def test_b37_os_stat_by_others_does_no_harm(
    api: Ledger, listener: WindowsListener, spawn: Spawn
) -> None:
    """It connects, and goes again: a server that goes on accepting comes to the real client.

    Mostly accept passes such a one over; one that it meets before it has gone says nothing.
    """

    def serve() -> bytes:
        while True:
            with listener.accept(30) as server:
                if data := server.read(1):
                    return data

    serving = spawn(serve)
    for _ in range(10):
        os.path.exists(listener.address.path)
    with windows.connect(listener.address, timeout=60, api=api) as client:
        client.write(b"x")
        assert serving.result(60) == b"x"


def test_list_pipes(listener: WindowsListener) -> None:
    try:
        names = windows.list_pipes()
    except OSError as exc:
        assert exc.winerror == 66  # Wine lists no pipes
    else:
        assert listener.address.path.removeprefix("\\\\.\\pipe\\") in names


def test_b12_a_thousand_connections_leave_nothing(api: Ledger, listener: WindowsListener) -> None:
    before = len(api.open)
    with no_thread_left():
        for _ in range(1000):
            with windows.connect(listener.address, api=api) as client, listener.accept(5) as server:
                client.write(b"x")
                assert server.read(1) == b"x"
    assert len(api.open) == before
