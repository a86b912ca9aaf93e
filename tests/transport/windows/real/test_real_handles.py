"""npipe.transport.windows.handles on a real kernel."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import npipe
from npipe.address import Address
from npipe.security import PeerIdentity
from npipe.transport.windows import connect as windows
from npipe.transport.windows.kernel32.constants import ADMINISTRATORS
from npipe.transport.windows.listener import WindowsListener
from transport.windows.real.ledger import Ledger, Pair, Spawn

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


def test_b24_the_name_is_exclusive(listener: WindowsListener) -> None:
    with pytest.raises(OSError, match="served already") as caught:
        windows.listen(listener.address)
    assert caught.value.errno == errno.EADDRINUSE


def test_b31_only_the_owner(api: Ledger, pair: Pair) -> None:
    """The descriptor as the kernel has it, read back from both ends."""
    client, server = pair
    owner = expected_owner(api)
    alias = "BA" if owner == ADMINISTRATORS else owner
    for end in (client, server):
        code, dacl = api.pipe_dacl(end.fileno())
        assert not code
        # Windows may add AI to the flags, and writes the account Administrator as LA.
        assert re.fullmatch(rf"D:P(AI)?\(A;;FA;;;({alias}|LA)\)\(A;;FA;;;SY\)", dacl)
        assert api.pipe_owner(end.fileno()) == (0, owner)


def expected_owner(api: Ledger) -> str:
    """The owner of what "owner" makes: the Administrators for an elevated program (W4)."""
    elevated = api.is_elevated() and api.is_administrator()
    return ADMINISTRATORS if elevated else api.process_sids()[1]


def test_b31_everyone(api: Ledger, address: Address) -> None:
    listener = windows.listen(address, access="everyone", api=api)
    with listener, windows.connect(address, api=api) as client, listener.accept(5):
        assert api.pipe_dacl(client.fileno())[1].endswith("(A;;0x12019b;;;WD)")


def test_bad_descriptor(address: Address) -> None:
    with pytest.raises(ValueError, match="not a valid security descriptor"):
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
        assert client.peer == seen[0]
        assert (server.peer.sid, server.peer.pid) == (user, os.getpid())
        assert (client.peer.sid, client.peer.pid) == (expected_owner(api), os.getpid())
        assert server.peer.session == client.peer.session is not None


def test_b34_identity_across_processes(listener: WindowsListener) -> None:
    code = (
        "import sys, os; from npipe.address import Address\n"
        "from npipe.transport.windows import connect as windows\n"
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
