"""``connect``: options, the deadline over all of it, giving up."""

from __future__ import annotations

import socket
import threading

import pytest

import npipe
from npipe.address import parse
from npipe.transport.smb import dial
from peers.smbd import PASSWORD, USER

REMOTE = npipe.Smb("me", "secret")
ADDRESS = r"\\127.0.0.1\pipe\x"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"verify_server": "owner"}, "kerberos"),
        ({"verify_server": 1}, "verify_server=1"),
        ({"impersonation": "all"}, "impersonation='all'"),
    ],
)
def test_options_that_make_no_sense(options, match):
    with pytest.raises(ValueError, match=match):
        npipe.connect(ADDRESS, remote=REMOTE, **options)


def test_remote_is_for_remote_pipes_and_they_are_opened_with_it_only():
    with pytest.raises(ValueError, match=r"\\host\\pipe\\name"):
        npipe.connect("./x", remote=REMOTE)
    with pytest.raises(ValueError, match=r"remote=npipe\.Smb"):
        npipe.connect(ADDRESS)
    with pytest.raises(TypeError, match=r"npipe\.Smb"):
        npipe.connect(ADDRESS, remote=("me", "secret"))


def test_a_server_that_the_caller_refuses_gets_no_byte(listener, address, remote):
    with pytest.raises(PermissionError, match="verify_server refused"):
        npipe.connect(address, remote=remote, connect_timeout=30, verify_server=lambda peer: False)
    with listener.accept(timeout=30) as server:
        assert server.read() == b""


@pytest.mark.parametrize("level", dial.IMPERSONATION)
def test_every_impersonation_level(listener, address, remote, level):
    npipe.connect(address, remote=remote, connect_timeout=30, impersonation=level).close()


def test_a_result_that_comes_after_giving_up_is_closed(listener, address, remote, monkeypatch):
    """The name look-up of a handshake cannot be woken: it ends whenever it ends."""
    from npipe.transport.smb.handshake import Handshake

    go_on, at_work, opened = threading.Event(), threading.Event(), []
    open_pipe = Handshake.open_pipe

    def slow(self: Handshake, *args: int) -> object:
        result = open_pipe(self, *args)
        opened.append(result.sock)
        at_work.set()
        go_on.wait(60)
        return result

    monkeypatch.setattr(Handshake, "open_pipe", slow)
    dialling = dial.Dialling(
        parse(address),
        remote,
        "identification",
        timeout=30,
        wait=False,
        on_end=lambda: None,
    )
    assert at_work.wait(30)
    dialling.abandon()  # as ``connect`` does at its deadline
    with listener.accept(timeout=30) as server:
        go_on.set()
        assert server.read() == b""
    for thread in threading.enumerate():  # the one that dialled closes its socket last
        if thread.name == "npipe-smb-dial":
            thread.join(30)
    assert opened[0].fileno() == -1


def test_a_busy_pipe_is_tried_again(listener, address, remote, monkeypatch):
    """Windows has a number of instances; Samba has not, so the answer is put in its mouth."""
    from npipe.transport.smb.handshake import Handshake
    from npipe.transport.smb.status import BusyError

    open_pipe, busy = Handshake.open_pipe, [True, True]

    def sometimes(self: Handshake, *args: int) -> object:
        if busy:
            busy.pop()
            raise BusyError("every pipe instance is busy")
        return open_pipe(self, *args)

    monkeypatch.setattr(Handshake, "open_pipe", sometimes)
    npipe.connect(address, remote=remote, connect_timeout=30).close()
    monkeypatch.setattr(Handshake, "open_pipe", lambda *_: open_busy())
    with pytest.raises(TimeoutError, match="busy"):
        npipe.connect(address, remote=remote, connect_timeout=0.5)


def open_busy() -> None:
    from npipe.transport.smb.status import BusyError

    raise BusyError(16, "every pipe instance is busy")


def test_an_interrupt_gives_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote = npipe.Smb(USER, PASSWORD, port=silent.getsockname()[1])

        def interrupted(self: dial.Dialling) -> float:
            raise KeyboardInterrupt

        monkeypatch.setattr(dial.Dialling, "left", interrupted)
        with pytest.raises(KeyboardInterrupt):
            dial.connect(parse(ADDRESS), remote, timeout=60)
