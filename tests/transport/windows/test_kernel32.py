"""The bindings: the memory that the kernel writes to, and the functions behind the names."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import npipe
from npipe.transport.windows import kernel32
from npipe.transport.windows.kernel32 import OVERLAPPED, SECURITY_ATTRIBUTES, Kernel32
from transport.windows.fake_kernel32 import FakeKernel32

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")

# Wine 8 and 10 have all that are bound here. GetNamedPipeClientComputerName is one that they lack.
EXPORTS = [(library, name) for library, names in kernel32._SIGNATURES.items() for name in names]


@on_windows
def test_structures_are_as_the_kernel_lays_them_out() -> None:
    assert ctypes.sizeof(ctypes.c_void_p) == 8, "the numbers below are for 64 bits"
    assert ctypes.sizeof(OVERLAPPED) == 32
    assert OVERLAPPED.hEvent.offset == 24
    assert ctypes.sizeof(SECURITY_ATTRIBUTES) == 24
    assert SECURITY_ATTRIBUTES.lpSecurityDescriptor.offset == 8
    assert kernel32.INVALID_HANDLE_VALUE == 0xFFFFFFFFFFFFFFFF


def run(code: str) -> None:
    """Run a program in a Python of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, stdin=subprocess.DEVNULL, env=env)


def test_importing_it_binds_nothing() -> None:
    """Type checkers and the fake import it on systems that have no kernel32."""
    run("import ctypes; ctypes.WinDLL = None; import npipe.transport.windows.connect")


def test_npipe_does_not_import_ctypes_until_a_pipe_is_used() -> None:
    run("import sys, npipe; assert 'ctypes' not in sys.modules")


def test_no_binding_of_that_name() -> None:
    with pytest.raises(AttributeError, match="NoSuchCall"):
        _ = Kernel32()._NoSuchCall


def test_the_fake_has_every_public_method_of_its_own() -> None:
    """What it leaves out would reach for the real kernel."""
    inherited = {"pipe_dacl"}
    public = {name for name in vars(Kernel32) if not name.startswith("_")}
    own = {name for kind in FakeKernel32.__mro__ if kind is not Kernel32 for name in vars(kind)}
    assert public - own <= inherited


@on_windows
@pytest.mark.parametrize(("library", "name"), EXPORTS)
def test_the_function_exists(library: str, name: str) -> None:
    function = getattr(Kernel32(), "_" + name)
    assert function is not None
    assert function.argtypes is not None


@on_windows
def test_failures_return_the_windows_code() -> None:
    api = kernel32.load()
    assert api.CreateFile(r"\\.\pipe\npipe-no-such-pipe", 0x12019B, 0) == (2, 0)
    assert api.WaitNamedPipe(r"\\.\pipe\npipe-no-such-pipe", 1) == 2
    assert api.CloseHandle(0x7FFFFFF0) == 6
    assert api.GetNamedPipeInfo(0x7FFFFFF0)[0] == 6
    assert api.descriptor("nonsense")[0] != 0
    assert api.CancelSynchronousIo(0x7FFFFFF0) != 0


@on_windows
def test_events() -> None:
    api = kernel32.load()
    code, event = api.CreateEvent()
    assert not code
    assert api.WaitForSingleObject(event, 0) == kernel32.WAIT_TIMEOUT
    api.SetEvent(event)
    assert api.WaitForSingleObject(event, 0) == kernel32.WAIT_OBJECT_0
    assert api.WaitForMultipleObjects([event], 0) == 0
    api.ResetEvent(event)
    assert api.WaitForSingleObject(event, 0) == kernel32.WAIT_TIMEOUT
    assert api.CloseHandle(event) == 0


@on_windows
def test_who_we_are() -> None:
    code, user, group = kernel32.load().process_sids()
    assert not code
    assert user.startswith("S-1-5-")
    assert group.startswith("S-1-5-")


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
