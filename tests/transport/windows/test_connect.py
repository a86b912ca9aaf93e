"""npipe.transport.windows.connect, on the fake kernel."""

from __future__ import annotations

import errno
import threading

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.windows import connect as windows
from npipe.transport.windows.kernel32.constants import FILE_FLAG_OVERLAPPED
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.thread_call import ThreadCall
from transport.conftest import no_thread_left
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import ADDRESS, FAR, HangingNetwork, Spawn, connect, interrupt, listen


def test_b26_no_server_fails_at_once(fake: FakeKernel32) -> None:
    with pytest.raises(FileNotFoundError):
        connect(fake)
    assert len(fake.made("CreateFile")) == 1


def test_b26_waiting_for_a_server_ends(fake: FakeKernel32) -> None:
    with pytest.raises(TimeoutError, match="no server appeared"):
        connect(fake, wait=True, timeout=0.01)


def test_b26_a_server_that_comes_late(fake: FakeKernel32, spawn: Spawn) -> None:
    connecting = spawn(connect, fake, wait=True, timeout=10)
    with listen(fake) as listener, listener.accept(10):
        connecting.result(60).close()


def test_b27_b28_busy_is_waited_for_without_wait_named_pipe(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    looked = len(fake.made("WaitNamedPipe"))
    fake.fail("CreateFile", 231, 231, 231)
    with connect(fake, timeout=60), listener.accept(60):
        pass
    assert len(fake.made("CreateFile")) == 4
    assert len(fake.made("WaitNamedPipe")) == looked


def test_b27_busy_for_ever_times_out(fake: FakeKernel32, listener: WindowsListener) -> None:
    fake.fail("CreateFile", *[231] * 1000)
    with pytest.raises(TimeoutError, match="stayed busy"):
        connect(fake, timeout=0.01)


@pytest.mark.parametrize("timeout", [0, -1])
def test_b28_no_time_left_still_tries_once(
    fake: FakeKernel32, listener: WindowsListener, timeout: float
) -> None:
    with connect(fake, timeout=timeout), listener.accept(60):
        pass


@pytest.mark.parametrize("code", [123, 161])
def test_b29_a_bad_name_is_a_value_error(fake: FakeKernel32, code: int) -> None:
    fake.fail("CreateFile", code)
    with pytest.raises(ValueError, match="bad address"):
        connect(fake)


def test_b30_another_computer_is_given_up_in_time(
    fake: FakeKernel32, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = HangingNetwork((995, 0))
    monkeypatch.setattr(fake, "CreateFile", network.open)
    monkeypatch.setattr(fake, "CancelSynchronousIo", network.cancel)
    with pytest.raises(TimeoutError, match="did not answer"):
        windows.connect(FAR, timeout=0.01, api=fake)


@pytest.mark.parametrize("too_late", [False, True])
def test_b30_another_computer_is_given_up_at_ctrl_c(
    fake: FakeKernel32,
    listener: WindowsListener,
    monkeypatch: pytest.MonkeyPatch,
    too_late: bool,
) -> None:
    """Also when it answers just then: its handle is closed."""
    opened = fake.CreateFile(ADDRESS.path, 0x12019B, FILE_FLAG_OVERLAPPED) if too_late else (995, 0)
    network = HangingNetwork(opened)
    monkeypatch.setattr(fake, "CreateFile", network.open)
    monkeypatch.setattr(fake, "CancelSynchronousIo", network.cancel)
    monkeypatch.setattr(ThreadCall, "wait", lambda *_: interrupt())
    with no_thread_left():
        with pytest.raises(KeyboardInterrupt):
            windows.connect(FAR, timeout=10, api=fake)
        assert network.cancelled.wait(60)
        network.ended()


def test_b30_another_computer_is_reached(fake: FakeKernel32) -> None:
    with pytest.raises(FileNotFoundError):
        windows.connect(FAR, timeout=10, api=fake)


def test_connect_leaves_no_handle_when_the_pipe_cannot_be_asked(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    fake.fail("GetNamedPipeInfo", 230)
    with pytest.raises(OSError):
        connect(fake)


@pytest.mark.parametrize("code", [5, 231])
def test_w12_a_server_that_refuses_remote_clients_does_not_keep_them_for_ever(
    fake: FakeKernel32, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Which code such a client gets is not documented."""
    monkeypatch.setattr(windows, "BUSY_REMOTE_LIMIT", 0.02)
    fake.remote, fake.remote_refusal = True, code
    with windows.listen(ADDRESS, api=fake), pytest.raises(OSError) as caught:
        windows.connect(FAR, api=fake)
    assert caught.value.errno in (errno.EACCES, errno.EBUSY)


def test_w12_a_timeout_on_a_busy_remote_pipe_says_what_it_may_be(fake: FakeKernel32) -> None:
    fake.remote, fake.remote_refusal = True, 231
    with (
        windows.listen(ADDRESS, api=fake),
        pytest.raises(TimeoutError, match="refuses remote clients"),
    ):
        windows.connect(FAR, timeout=0.02, api=fake)


def test_w13_a_question_to_another_computer_ends(
    fake: FakeKernel32, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    ask = fake.WaitNamedPipe
    monkeypatch.setattr(fake, "WaitNamedPipe", lambda *_: go.wait(60) and ask(*_))
    monkeypatch.setattr(windows, "_EXISTS_LIMIT", 0.02)
    with no_thread_left():
        with pytest.raises(TimeoutError, match="did not answer"):
            windows.exists(FAR, api=fake)
        go.set()
        for thread in threading.enumerate():
            if thread.name == "npipe-exists":
                thread.join(60)
    assert not windows.exists(FAR, api=fake)


@pytest.mark.parametrize("address", [ADDRESS, FAR], ids=["local", "remote"])
def test_another_thread_ends_a_connect(
    fake: FakeKernel32, spawn: Spawn, monkeypatch: pytest.MonkeyPatch, address: Address
) -> None:
    cancel = threading.Event()
    if address is FAR:
        network = HangingNetwork((995, 0))
        monkeypatch.setattr(fake, "CreateFile", network.open)
        monkeypatch.setattr(fake, "CancelSynchronousIo", network.cancel)
    connecting = spawn(windows.connect, address, wait=True, cancel=cancel, api=fake)
    fake.until(lambda: fake.made("CreateFile") or address is FAR)
    cancel.set()
    with pytest.raises(ClosedError):
        connecting.result(60)
