"""npipe.transport.windows.handles, on the fake kernel: names, and what a client asks for."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from npipe.address import Address
from npipe.transport.windows import connect as windows
from npipe.transport.windows import listener as windows_listener
from npipe.transport.windows.kernel32.constants import (
    FILE_FLAG_OVERLAPPED,
    SECURITY_SQOS_PRESENT,
)
from npipe.transport.windows.listener import WindowsListener
from transport.windows.fake_kernel32 import (
    FakeKernel32,
)
from transport.windows.fake_kernel32.objects import End
from transport.windows.faked import ADDRESS, connect, listen


@pytest.mark.parametrize(
    ("level", "bits"),
    [("anonymous", 0), ("identification", 1), ("impersonation", 2), ("delegation", 3)],
)
def test_b33_the_server_may_only_do_what_we_let_it(
    fake: FakeKernel32, listener: WindowsListener, level: Any, bits: int
) -> None:
    with connect(fake, impersonation=level), listener.accept(60):
        pass
    _, access, flags = fake.made("CreateFile")[0]
    assert flags & SECURITY_SQOS_PRESENT
    assert flags >> 16 & 0x3 == bits
    assert flags & FILE_FLAG_OVERLAPPED
    assert not access & 0x4  # the right to make instances is not asked for


def test_b33_identification_by_default_and_no_other_words(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    with connect(fake), listener.accept(60):
        pass
    assert fake.made("CreateFile")[0][2] >> 16 & 0x3 == 1
    with pytest.raises(ValueError, match="impersonation="):
        connect(fake, impersonation="none")  # type: ignore[arg-type]


def test_w03_a_name_that_only_clients_hold_is_not_served(
    fake: FakeKernel32, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows_listener, "claim_pauses", lambda: iter([0.0]))
    with listen(fake) as old, connect(fake) as client, old.accept(60) as server:
        old.close()
        server.close()
        assert fake.WaitNamedPipe(ADDRESS.path, 1) == 121
        assert not windows.exists(ADDRESS, api=fake)
        with pytest.raises(FileNotFoundError):
            connect(fake)
        with pytest.raises(OSError, match="clients still hold its pipe") as caught:
            listen(fake)
        assert caught.value.errno == errno.EADDRINUSE
        client.close()
        with listen(fake):
            assert windows.exists(ADDRESS, api=fake)


def test_w03_a_name_whose_instances_are_all_busy_is_served(fake: FakeKernel32) -> None:
    with listen(fake, backlog=2), connect(fake), connect(fake):
        assert windows.exists(ADDRESS, api=fake)
        with pytest.raises(OSError, match="served already"):
            listen(fake)


@pytest.mark.parametrize(
    "name", ["x.", "x ", r"a\..\b", r"a\\b", r".\a", r"..\C:\f", "x\0y", "a. \\b"]
)
def test_w18_a_name_that_windows_would_change_is_refused(fake: FakeKernel32, name: str) -> None:
    address = Address("pipe", "\\\\.\\pipe\\" + name)
    for call in (windows.connect, windows.listen, windows.exists):
        with pytest.raises(ValueError, match="bad address"):
            call(address, api=fake)
    assert fake.made("CreateFile") == fake.made("CreateNamedPipe") == []


def test_b37_exists_takes_no_instance(fake: FakeKernel32) -> None:
    assert not windows.exists(ADDRESS, api=fake)
    with listen(fake, backlog=2):
        assert windows.exists(ADDRESS, api=fake)
        busy = [connect(fake), connect(fake)]
        assert windows.exists(ADDRESS, api=fake)  # served, though nobody can connect now
        assert windows.exists(ADDRESS, api=fake)
        assert [end.pipe.state for end in fake._all(End)].count("connected") == 4
        fake.fail("WaitNamedPipe", 676)
        with pytest.raises(OSError):
            windows.exists(ADDRESS, api=fake)
        for each in busy:
            each.close()
    assert not windows.exists(ADDRESS, api=fake)
