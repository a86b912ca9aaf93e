"""What an ``access`` option means, in text."""

from __future__ import annotations

import pytest

from npipe.security import (
    PeerIdentity,
    descriptor_for,
    mode_admits,
    mode_for,
    owner_is_trusted,
    peer_is_user,
)

USER, GROUP = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-513"
OWN = f"O:{USER}D:P(A;;FA;;;{USER})(A;;FA;;;SY)"
FILE_APPEND_DATA = 0x4  # on a pipe: the right to make instances, and so to serve its clients
GENERIC = ("GA", "GW", "GR", "FW", "FR")


@pytest.mark.parametrize(
    ("access", "more"),
    [
        ("owner", ""),
        ("group", f"(A;;0x12019b;;;{GROUP})"),
        ("everyone", "(A;;0x12019b;;;WD)"),
    ],
)
def test_b31_the_descriptors(access: str, more: str) -> None:
    assert descriptor_for(access, USER, GROUP) == OWN + more


def test_b31_others_never_get_the_right_to_serve() -> None:
    assert not 0x12019B & FILE_APPEND_DATA
    for access in ("group", "everyone"):
        sddl = descriptor_for(access, USER, GROUP)
        assert not any(f";{right};" in sddl for right in GENERIC)


@pytest.mark.parametrize("sddl", ["D:P(A;;FA;;;BA)", "O:SYD:(A;;GA;;;WD)", "G:BAD:P"])
def test_a_descriptor_of_ones_own_passes(sddl: str) -> None:
    assert descriptor_for(sddl, USER, GROUP) == sddl


@pytest.mark.parametrize("access", [0o600, 0, "all", "", "Owner", None])
def test_anything_else_is_refused(access: object) -> None:
    with pytest.raises(ValueError, match="access="):
        descriptor_for(access, USER, GROUP)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("owner", "trusted"),
    [
        (USER, True),
        ("S-1-5-18", True),
        ("S-1-5-32-544", True),
        ("S-1-5-21-1-2-3-1002", False),
        ("S-1-1-0", False),
        ("", False),
        (None, False),
    ],
)
def test_b34_whose_pipe_is_trusted(owner: str | None, trusted: bool) -> None:
    assert owner_is_trusted(owner, USER) is trusted


def test_b34_an_unknown_user_trusts_no_unknown_owner() -> None:
    assert not owner_is_trusted(None, "")
    assert not owner_is_trusted("", "")


@pytest.mark.parametrize(
    ("access", "mode"), [("owner", 0o600), ("group", 0o660), ("everyone", 0o666), (0o640, 0o640)]
)
def test_b31_the_modes(access: str | int, mode: int) -> None:
    assert mode_for(access) == mode


@pytest.mark.parametrize("access", ["", "all", "D:P(A;;FA;;;WD)", True, None, 0.5, -1, 0o1000])
def test_b31_what_is_no_mode_is_refused(access: object) -> None:
    with pytest.raises(ValueError, match='"owner", "group", "everyone" or a mode'):
        mode_for(access)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "admitted"),
    [
        (0o600, 1000, 100, True),
        (0o600, 1001, 100, False),
        (0o600, 0, 0, True),
        (0o000, 1000, 100, False),
        (0o660, 1001, 100, True),
        (0o660, 1001, 101, False),
        (0o644, 1001, 101, False),  # to connect is to write
        (0o666, 1001, 101, True),
        (0o666, None, None, True),  # as the kernel has it for the mode of a file
        (0o664, None, None, False),
        (0o660, None, 100, False),  # a group without a user is not enough
    ],
)
def test_b31_whom_a_mode_lets_in(
    mode: int, uid: int | None, gid: int | None, admitted: bool
) -> None:
    assert mode_admits(mode, PeerIdentity(uid=uid, gid=gid), uid=1000, gid=100) is admitted


def test_b34_whose_server_is_trusted_on_posix() -> None:
    assert peer_is_user(PeerIdentity(uid=1000), 1000)
    assert peer_is_user(PeerIdentity(uid=0), 1000)
    assert not peer_is_user(PeerIdentity(uid=1001), 1000)
    assert not peer_is_user(PeerIdentity(), 1000)
