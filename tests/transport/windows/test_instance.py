"""npipe.transport.windows.instance, on the fake kernel: what a listener waits with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from npipe.transport.windows.instance import Instance
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.overlapped import new_event
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import ADDRESS, Spawn, connect, interrupt

Calls = Callable[..., int]


@pytest.fixture
def handle(fake: FakeKernel32) -> int:
    code, descriptor = fake.descriptor("D:P(A;;FA;;;WD)")
    assert not code
    code, handle = fake.CreateNamedPipe(
        ADDRESS.path,
        3 | 0x40000000,
        8,
        instances=255,
        buffer_size=4096,
        descriptor=descriptor,
    )
    assert not code
    fake.LocalFree(descriptor)
    return handle


@pytest.fixture
def instance(fake: FakeKernel32, handle: int) -> Iterator[Instance]:
    instance = Instance(fake, handle, new_event(fake))
    yield instance
    instance.close()


def no_client_comes(listener: WindowsListener) -> None:
    with pytest.raises(TimeoutError):
        listener.accept(0)


def interrupted_after(call: Calls) -> Calls:
    """Return the call with Ctrl-C right after it, before its result is seen."""

    def both(*arguments: Any) -> int:
        call(*arguments)
        raise KeyboardInterrupt

    return both


def test_a_client_that_comes_sets_the_event(fake: FakeKernel32, instance: Instance) -> None:
    instance.arm()
    assert not instance.taken
    with connect(fake):
        assert fake.WaitForSingleObject(instance.event, 0) == 0
        instance.look()
        assert instance.taken


def test_w17_ctrl_c_right_after_connect_named_pipe_does_not_arm_twice(
    fake: FakeKernel32, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake, "ConnectNamedPipe", interrupted_after(fake.ConnectNamedPipe))
        instance.arm()
    instance.arm()  # a second one at once would be a fault of the fake kernel
    with connect(fake):
        instance.look()
        assert instance.taken


def test_w17_a_client_that_came_during_ctrl_c_is_kept(
    fake: FakeKernel32, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake, "ConnectNamedPipe", interrupted_after(fake.ConnectNamedPipe))
        instance.arm()
    with connect(fake):
        instance.arm()
        assert instance.taken


def test_w17_ctrl_c_right_after_connect_named_pipe_leaves_nothing_pending_on_close(
    fake: FakeKernel32, handle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = Instance(fake, handle, new_event(fake))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake, "ConnectNamedPipe", interrupted_after(fake.ConnectNamedPipe))
        instance.arm()
    instance.close()  # with an operation pending it would be a fault of the fake kernel


def test_w08_a_late_event_of_an_ended_operation_is_reset(
    fake: FakeKernel32, instance: Instance
) -> None:
    """The thread that armed it ends; the status is written, and the event set later."""
    fake.hold_events = True
    fake.in_ended_thread(instance.arm)
    instance.look()
    instance.arm()
    fake.deliver()
    assert fake.WaitForSingleObject(instance.event, 0) == 0
    instance.settle_event()
    assert fake.WaitForSingleObject(instance.event, 0) != 0
    with connect(fake):
        assert fake.WaitForSingleObject(instance.event, 0) == 0
        instance.look()
        assert instance.taken


def test_w08_accept_does_not_spin_on_a_late_event(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    fake.hold_events = True
    fake.in_ended_thread(lambda: no_client_comes(listener))
    with pytest.raises(TimeoutError):
        listener.accept(0)  # sees the status of each, and arms it again
    fake.deliver()  # now come the events of the four that ended
    waits = len(fake.made("WaitForMultipleObjects"))
    accepting = spawn(listener.accept, 60)
    fake.until(lambda: len(fake.made("WaitForMultipleObjects")) > waits + 4)
    fake.waiting(5)
    assert len(fake.made("WaitForMultipleObjects")) <= waits + 6
    with connect(fake), accepting.result(60):
        pass


def test_w08_close_waits_for_the_status_and_not_for_a_late_event(
    fake: FakeKernel32, handle: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set event proves nothing: memory is given up once the status says that it ended."""
    instance = Instance(fake, handle, new_event(fake))
    instance.arm()
    fake.SetEvent(instance.event)
    cancel = fake.CancelIoEx
    ended: list[bool] = []

    def later(handle: int, overlapped: Any) -> int:
        def end() -> None:
            ended.append(True)
            cancel(handle, overlapped)

        fake.hooks["ResetEvent"] = end
        return 0

    monkeypatch.setattr(fake, "CancelIoEx", later)
    instance.close()
    assert ended == [True]


@pytest.mark.parametrize("code", [1450, 1816, 87])
def test_w09_an_instance_that_cannot_be_armed_does_not_block_the_others(
    fake: FakeKernel32, listener: WindowsListener, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    first = listener._instances[0].handle
    arm = fake.ConnectNamedPipe
    monkeypatch.setattr(
        fake, "ConnectNamedPipe", lambda handle, o: code if handle == first else arm(handle, o)
    )
    with connect(fake), connect(fake) as second, listener.accept(60) as server:
        second.write(b"x")
        assert server.read(1) == b"x"


def test_w09_a_lack_of_resources_is_waited_out_and_no_client_lost(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    fake.fail("ConnectNamedPipe", *[1450] * 8)
    with connect(fake) as client, listener.accept(60) as server:
        client.write(b"x")
        assert server.read(1) == b"x"


def test_interrupt_before_connect_named_pipe(
    fake: FakeKernel32, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake, "ConnectNamedPipe", lambda *_: interrupt())
        instance.arm()
    instance.arm()
    with connect(fake):
        instance.look()
        assert instance.taken
