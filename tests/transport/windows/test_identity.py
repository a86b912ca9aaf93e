"""Identity on the fake kernel: the owner of a pipe, the user of a client, elevation."""

from __future__ import annotations

import pytest

from npipe.security import PeerIdentity
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.kernel32.constants import FILE_FLAG_OVERLAPPED
from npipe.transport.windows.listener import WindowsListener
from transport.windows.fake_kernel32 import (
    OTHER,
    USER,
    FakeKernel32,
    Token,
    elevated,
    filtered,
)
from transport.windows.faked import ADDRESS, Pair, connect, listen, listener_as


def test_b34_a_squatter_is_turned_down_before_a_byte_is_sent(fake: FakeKernel32) -> None:
    fake.user = OTHER
    with listen(fake, access="everyone"):
        fake.user = USER
        with pytest.raises(PermissionError, match=OTHER):
            connect(fake, verify_server="owner")
        assert fake.made("WriteFile") == []
        fake.user = OTHER
        with connect(fake, verify_server="owner"):
            pass


@pytest.mark.parametrize("owner", ["S-1-5-18", "S-1-5-32-544"])
def test_b34_the_system_and_administrators_are_trusted(fake: FakeKernel32, owner: str) -> None:
    with listen(fake, access=f"O:{owner}D:P(A;;FA;;;{USER})"), connect(fake, verify_server="owner"):
        pass


def test_b34_no_known_owner_is_not_trusted(fake: FakeKernel32) -> None:
    with listen(fake, access=f"D:P(A;;FA;;;{USER})"), pytest.raises(PermissionError):
        fake.fail("pipe_owner", 5)
        connect(fake, verify_server="owner")


def test_b34_the_default_owner_is_that_of_the_token(fake: FakeKernel32) -> None:
    with (
        listen(fake, access=f"D:P(A;;FA;;;{USER})"),
        connect(fake, verify_server="owner") as client,
    ):
        assert client.peer.sid == USER


def test_b34_a_function_decides(fake: FakeKernel32, listener: WindowsListener) -> None:
    seen: list[PeerIdentity] = []

    def check(peer: PeerIdentity) -> bool:
        seen.append(peer)
        return len(seen) == 1

    connect(fake, verify_server=check).close()
    with pytest.raises(PermissionError):
        connect(fake, verify_server=check)
    assert seen[0] == PeerIdentity(pid=4321, sid=USER, session=1)
    with pytest.raises(ValueError, match="verify_server="):
        connect(fake, verify_server="root")  # type: ignore[arg-type]


def test_b34_the_peer(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    fake.pid, fake.session = 1, 2  # of other processes than those of this pair
    assert client.peer == server.peer == PeerIdentity(pid=4321, sid=USER, session=1)
    client.write(b"x")
    assert server.read(1) == b"x"
    assert server.peer.sid == USER
    asked = len(fake.made("client_sid"))
    assert server.peer.sid == USER
    assert len(fake.made("client_sid")) == asked  # once the token has told it
    client.close()
    assert client.peer.sid == USER


SQOS, IDENTIFICATION, TRACKING = 0x100000, 0x10000, 0x40000


@pytest.mark.parametrize("flags", [0, SQOS | IDENTIFICATION | TRACKING], ids=["none", "dynamic"])
def test_w01_a_client_is_known_once_something_of_it_was_read(
    fake: FakeKernel32, flags: int
) -> None:
    """Node, asyncio, pywin32 and .NET open without a quality of service: dynamic tracking."""
    with listen(fake, access="everyone") as listener:
        fake.user = OTHER
        client = open_raw(fake, flags)
        server = listener_as(fake, USER, listener)
        with client, server:
            assert server.peer.sid is None
            assert server.peer.pid == 4321
            client.write(b"x")
            assert server.read(1) == b"x"
            assert server.peer.sid == OTHER


def test_w01_a_client_that_forbids_impersonation_stays_unknown(fake: FakeKernel32) -> None:
    with (
        listen(fake, access="everyone") as listener,
        open_raw(fake, SQOS) as client,
        listener.accept(60) as server,
    ):
        client.write(b"x")
        assert server.read(1) == b"x"
        assert server.peer.sid is None


@pytest.mark.parametrize("flags", [0, SQOS, SQOS | IDENTIFICATION], ids=["none", "anon", "static"])
def test_w01_an_owner_only_pipe_proves_who_its_client_is(
    fake: FakeKernel32, listener: WindowsListener, flags: int
) -> None:
    """go-winio, and so geth, connects anonymously."""
    with open_raw(fake, flags), listener.accept(60) as server:
        assert server.peer.sid == USER


def test_w01_an_owner_only_pipe_proves_nothing_of_remote_clients(fake: FakeKernel32) -> None:
    with (
        listen(fake, reject_remote=False) as listener,
        open_raw(fake, SQOS),
        listener.accept(60) as server,
    ):
        assert server.peer.sid is None


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("armed", [False, True])
def test_w05_the_order_of_client_and_listening_does_not_matter(
    fake: FakeKernel32, forgets: bool, armed: bool
) -> None:
    """Whichever way Windows has it: npipe's own client is known after the first read."""
    fake.forgets_static_client = forgets
    with listen(fake, access="everyone") as listener:
        if armed:
            with pytest.raises(TimeoutError):
                listener.accept(0)
        fake.user = OTHER
        with connect(fake) as client, listener_as(fake, USER, listener) as server:
            client.write(b"x")
            assert server.read(1) == b"x"
            assert server.peer.sid == OTHER


@pytest.mark.parametrize("code", [1368, 1347, 5, 1346, 1008, 233, 31])
def test_w15_no_error_of_asking_ends_the_connection(
    fake: FakeKernel32, pair: Pair, code: int
) -> None:
    _, server = pair
    server._proven_sid = None
    fake.fail("client_sid", code)
    assert server.peer.sid is None
    assert server.peer.pid == 4321


def open_raw(fake: FakeKernel32, flags: int) -> WindowsConnection:
    code, handle = fake.CreateFile(ADDRESS.path, 0x12019B, FILE_FLAG_OVERLAPPED | flags)
    assert not code
    return WindowsConnection.adopt(handle, ADDRESS, api=fake)


def test_w04_an_elevated_server_admits_no_ordinary_program_of_its_user(fake: FakeKernel32) -> None:
    fake.token = elevated()
    with listen(fake) as listener:
        fake.token = filtered()
        with pytest.raises(PermissionError):
            connect(fake)
        with pytest.raises(PermissionError):
            connect(fake, mode="r")
        fake.token = elevated()
        with connect(fake), listener.accept(60) as server:
            assert server.peer.sid == USER


def test_w04_an_elevated_program_that_is_no_administrator_relies_on_the_label(
    fake: FakeKernel32,
) -> None:
    operator = Token(integrity=0x3000)
    fake.token = operator
    with listen(fake) as listener:
        fake.token = Token()
        with pytest.raises(PermissionError):
            connect(fake)
        fake.token = operator
        with connect(fake, verify_server="owner"), listener.accept(60):
            pass


@pytest.mark.parametrize("maker", [filtered(), Token(integrity=0x1000)], ids=["medium", "low"])
def test_w04_an_elevated_client_trusts_no_pipe_of_an_ordinary_program(
    fake: FakeKernel32, maker: Token
) -> None:
    fake.token = maker
    with listen(fake, access="everyone"):
        fake.token = elevated()
        with pytest.raises(PermissionError, match="elevated"):
            connect(fake, verify_server="owner")
        assert fake.made("WriteFile") == []
    fake.token = elevated()
    with listen(fake) as listener, connect(fake, verify_server="owner"), listener.accept(60):
        pass


def test_w04_an_ordinary_client_trusts_the_elevated_server_that_admits_it(
    fake: FakeKernel32,
) -> None:
    fake.token = elevated()
    with listen(fake, access="everyone") as listener:
        fake.token = filtered()
        with connect(fake, verify_server="owner"):
            fake.token = elevated()
            listener.accept(60).close()
