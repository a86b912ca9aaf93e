"""npipe.transport.windows.maker, on the fake kernel: the claim of the name, access, options."""

from __future__ import annotations

import errno
import itertools
from typing import Any

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.windows import connect as windows
from npipe.transport.windows.kernel32.constants import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_MESSAGE,
)
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.maker import PipeMaker
from transport.windows.fake_kernel32 import (
    GROUP,
    OTHER,
    USER,
    FakeKernel32,
    Token,
)
from transport.windows.fake_kernel32.tokens import CREATE_INSTANCE, granted
from transport.windows.faked import ADDRESS, Spawn, connect, listen, listener_as


def test_b24_the_name_is_exclusive(fake: FakeKernel32, listener: WindowsListener) -> None:
    with pytest.raises(OSError, match="served already") as caught:
        listen(fake)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.filename == ADDRESS.path
    first, *later = [mode for _, mode, *_ in fake.made("CreateNamedPipe")]
    assert first & FILE_FLAG_FIRST_PIPE_INSTANCE
    assert later
    assert not any(mode & FILE_FLAG_FIRST_PIPE_INSTANCE for mode in later)
    assert all(mode & FILE_FLAG_OVERLAPPED for mode in (first, *later))


def test_b24_the_kernel_decides_a_race_for_the_name(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    fake.fail("WaitNamedPipe", 2)  # the other one came after we had looked
    with pytest.raises(OSError) as caught:
        listen(fake)
    assert caught.value.errno == errno.EADDRINUSE


def test_b24_windows_decides_where_nobody_can_be_asked(fake: FakeKernel32) -> None:
    fake.fail("WaitNamedPipe", 50)
    with listen(fake) as listener:
        fake.fail("WaitNamedPipe", 50, 50)
        with pytest.raises(PermissionError):
            listen(fake)
        with connect(fake), listener.accept(60):
            pass


def test_b24_denied_is_not_in_use(fake: FakeKernel32) -> None:
    fake.fail("CreateNamedPipe", 5)
    with pytest.raises(PermissionError):
        listen(fake)


def test_b31_owner_only_by_default(fake: FakeKernel32, listener: WindowsListener) -> None:
    descriptors = {sddl for _, _, _, sddl in fake.made("CreateNamedPipe")}
    assert descriptors == {f"O:{USER}D:P(A;;FA;;;{USER})(A;;FA;;;SY)"}
    fake.user = OTHER
    with pytest.raises(PermissionError):
        connect(fake)


def test_b31_everyone_may_connect_but_not_serve(fake: FakeKernel32) -> None:
    with listen(fake, access="everyone") as listener:
        fake.user = OTHER
        with connect(fake), listener_as(fake, USER, listener):
            pass
        fake.fail("WaitNamedPipe", 2)
        with pytest.raises(OSError):
            listen(fake)  # not even without the flag that makes the name exclusive:
        assert not granted(fake.made("CreateNamedPipe")[0][3], Token(OTHER)) & CREATE_INSTANCE


def test_b31_group_names_the_primary_group(fake: FakeKernel32) -> None:
    with listen(fake, access="group"):
        assert fake.made("CreateNamedPipe")[0][3].endswith(f"(A;;0x12019b;;;{GROUP})")


def test_b31_own_descriptor_passes_as_it_is(fake: FakeKernel32) -> None:
    own = f"D:P(A;;FA;;;{USER})(A;;0x12019b;;;BA)"
    with listen(fake, access=own):
        assert {sddl for _, _, _, sddl in fake.made("CreateNamedPipe")} == {own}


def test_b31_own_descriptor_that_locks_out_the_server_itself(fake: FakeKernel32) -> None:
    with pytest.raises(PermissionError, match=USER):
        listen(fake, access="D:P(A;;FA;;;BA)")


@pytest.mark.parametrize("access", ["D:nonsense", "owners", "", 0o600, None])
def test_bad_access(fake: FakeKernel32, access: Any) -> None:
    with pytest.raises(ValueError, match="access="):
        listen(fake, access=access)


def test_b32_remote_clients_are_refused(fake: FakeKernel32) -> None:
    fake.remote = True
    with listen(fake), pytest.raises(PermissionError):
        connect(fake)
    with listen(fake, reject_remote=False) as listener, connect(fake), listener.accept(60):
        pass


OPTIONS = list(
    itertools.product(["owner", "everyone"], [False, True], [False, True], [0, 512, 65536])
)


@pytest.mark.parametrize(("access", "message_mode", "reject_remote", "buffer_size"), OPTIONS)
def test_b32_no_option_resets_another(
    fake: FakeKernel32, access: str, message_mode: bool, reject_remote: bool, buffer_size: int
) -> None:
    """And every instance is made like the first, the later ones too."""
    options = {"access": access, "message_mode": message_mode, "reject_remote": reject_remote}
    with listen(fake, buffer_size=buffer_size, **options) as listener:
        with connect(fake), listener.accept(60) as server:
            sizes = fake.GetNamedPipeInfo(server.fileno())[2:]
            assert min(sizes) >= buffer_size  # what is asked for is only advice
        made = fake.made("CreateNamedPipe")
    assert len(made) > 4
    for _, _, pipe_mode, sddl in made:
        assert bool(pipe_mode & PIPE_TYPE_MESSAGE) is message_mode
        assert bool(pipe_mode & PIPE_REJECT_REMOTE_CLIENTS) is reject_remote
        assert ("WD" in sddl) is (access == "everyone")


def test_w03_a_server_that_restarts_waits_for_the_clients_to_leave(
    fake: FakeKernel32, spawn: Spawn
) -> None:
    old = listen(fake)
    client, server = connect(fake), old.accept(60)
    old.close()
    server.close()
    tries = len(fake.made("WaitNamedPipe"))
    restarting = spawn(listen, fake)
    fake.until(lambda: len(fake.made("WaitNamedPipe")) > tries + 1)
    assert client.read() == b""
    client.close()
    with restarting.result(60), connect(fake):
        pass


def test_w16_no_pipe_is_made_without_its_descriptor(fake: FakeKernel32) -> None:
    maker = PipeMaker(ADDRESS, api=fake)
    maker.close()
    with pytest.raises(ClosedError):
        maker.create()
    assert fake.made("CreateNamedPipe") == []


@pytest.mark.parametrize(
    "options",
    [{"backlog": -1}, {"backlog": 1.5}, {"buffer_size": -1}, {"buffer_size": 1 << 31}],
    ids=str,
)
def test_options_that_make_no_sense(fake: FakeKernel32, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give a number"):
        listen(fake, **options)


@pytest.mark.parametrize(
    "address", [Address("unix", "/x"), Address("pipe", r"\\far\pipe\x", "far")], ids=str
)
def test_addresses_that_cannot_be_served(fake: FakeKernel32, address: Address) -> None:
    with pytest.raises(ValueError, match=r"pipe"):
        windows.listen(address, api=fake)
