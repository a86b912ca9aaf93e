"""The bindings to tokens: a thread that acts for a client always stops."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from npipe.transport.windows.kernel32 import Kernel32, load

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


@on_windows
def test_who_we_are() -> None:
    code, user, group = load().process_sids()
    assert not code
    for sid in (user, group):  # S-1-5-21-..., and S-1-12-1-... for an account of Entra ID
        assert re.fullmatch(r"S-1-(5|12)(-\d+)+", sid)


@on_windows
def test_going_on_as_somebody_else_is_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Kernel32()
    monkeypatch.setattr(api, "_ImpersonateNamedPipeClient", lambda handle: True, raising=False)
    monkeypatch.setattr(api, "_RevertToSelf", lambda: False, raising=False)
    with pytest.raises(SystemError, match="impersonation"):
        api.client_sid(0)


@pytest.mark.parametrize("moment", ["_ImpersonateNamedPipeClient", "_OpenThreadToken"])
def test_ctrl_c_leaves_nobody_as_somebody_else(moment: str) -> None:
    # Such an interrupt comes right after the call, when Python looks for signals.
    calls: list[str] = []

    def stub(name: str) -> Callable[..., bool]:
        def call(*_: object) -> bool:
            calls.append(name)
            if name == moment:
                raise KeyboardInterrupt
            return True

        return call

    api = Kernel32()
    acting = iter([False])  # the thread impersonates nobody before; then it does
    second = stub("_OpenThreadToken")
    for name in ("_GetCurrentThread", "_ImpersonateNamedPipeClient", "_RevertToSelf"):
        setattr(api, name, stub(name))
    api._OpenThreadToken = lambda *args: next(acting) if not calls[1:] else second(*args)
    api._SetThreadToken = None
    with pytest.raises(KeyboardInterrupt):
        api.client_sid(0)
    assert calls[-1] == "_RevertToSelf"


def test_who_never_acted_as_somebody_else_does_not_revert() -> None:
    api = Kernel32()
    for name, stub in {
        "_OpenThreadToken": lambda *_: False,
        "_RevertToSelf": None,
        "_SetThreadToken": None,
        "_GetCurrentThread": lambda: 0,
        "_ImpersonateNamedPipeClient": lambda handle: False,
    }.items():
        setattr(api, name, stub)
    assert api.client_sid(0)[1] == ""


def test_w14_a_thread_that_acts_for_a_user_does_so_again_afterwards() -> None:
    """RevertToSelf would make it the process again, which may do more."""
    api, calls = Kernel32(), list[str]()

    def open_token(thread: int, access: int, as_self: bool, token: Any) -> bool:
        token._obj.value = 0x44
        return True

    def note(name: str) -> Callable[..., bool]:
        return lambda *_: calls.append(name) is None

    api._OpenThreadToken = open_token
    api._GetCurrentThread = lambda: 0
    for name in ("_ImpersonateNamedPipeClient", "_SetThreadToken", "_RevertToSelf"):
        setattr(api, name, note(name))
    api._CloseHandle = note("_CloseHandle")
    api._token_sid = lambda token, what: (0, "S-1-5-21-7")  # type: ignore[method-assign]
    assert api.client_sid(0) == (0, "S-1-5-21-7")
    assert calls == [
        "_ImpersonateNamedPipeClient",
        "_SetThreadToken",
        "_CloseHandle",
        "_CloseHandle",
    ]
