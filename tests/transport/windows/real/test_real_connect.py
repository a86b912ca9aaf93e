"""npipe.transport.windows.connect on a real kernel."""

from __future__ import annotations

import sys
import uuid

import pytest

from npipe.address import Address
from npipe.transport.windows import connect as windows
from transport.windows.real.ledger import Ledger, Spawn

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


def test_names_of_every_kind(api: Ledger, spawn: Spawn) -> None:
    unique = uuid.uuid4().hex
    longest = "\\\\.\\pipe\\" + unique + "x" * (256 - 9 - len(unique))
    for path in (rf"\\.\pipe\é漢字-😀 {unique}", rf"\\.\pipe\a\b\{unique}", longest):
        with windows.listen(Address("pipe", path), api=api) as listener:
            upper = Address("pipe", path.upper())
            with windows.connect(upper, api=api) as client, listener.accept(5) as server:
                client.write(b"x")
                assert server.read(1) == b"x"


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
