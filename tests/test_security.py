"""What an ``access`` option means, in text."""

from __future__ import annotations

import pytest

from npipe.security import descriptor_for, owner_is_trusted

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
