"""npipe.transport.windows.thread_call, on the fake kernel: calls that end late or never."""

from __future__ import annotations

import threading
import time

import pytest

from npipe.errors import ClosedError
from npipe.transport.windows import thread_call as thread_call_module
from npipe.transport.windows.thread_call import ThreadCall
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import Pair, Spawn


def test_w11_a_flush_that_cannot_be_cancelled_does_not_keep_close_waiting(
    fake: FakeKernel32, pair: Pair, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    client.write(b"unread")
    monkeypatch.setattr(fake, "CancelSynchronousIo", lambda _: 1168)
    monkeypatch.setattr(thread_call_module, "_CANCEL_PATIENCE", 0.05)
    flushing = spawn(client.flush)
    fake.until(lambda: fake.made("FlushFileBuffers"))
    client.close()
    with pytest.raises(ClosedError):
        flushing.result(60)
    server.close()
    fake.until(lambda: not fake._in_call)


def test_w13_a_thread_that_was_given_up_closes_what_it_gets(fake: FakeKernel32) -> None:
    go, unwanted = threading.Event(), list[tuple[int, int]]()
    done = threading.Event()

    def call() -> tuple[int, int]:
        assert go.wait(60)
        return 0, 7

    aside = ThreadCall(call, "test", fake, done=done.set, unwanted=unwanted.append)
    aside.start()
    aside.wait(time.monotonic() + 0.01)
    assert aside.finish(patience=0) == (995, 0)
    go.set()
    assert done.wait(60)
    assert unwanted == [(0, 7)]
