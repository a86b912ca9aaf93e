r"""Steps of tools/windows_check.py with other tokens of the same user.

Programs of low and medium integrity, with a token restricted to a service, and in an AppContainer.
Microsoft pages: CreateProcessAsUserW (a restricted or lowered copy of one's own token needs no
privilege), CreateRestrictedToken, SetTokenInformation, CreateAppContainerProfile,
UpdateProcThreadAttribute, SECURITY_CAPABILITIES.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref, c_size_t, c_void_p, sizeof, wintypes
from pathlib import Path
from typing import Any, Final

import npipe
from windows_steps.accounts import CONNECT
from windows_steps.processes import (
    NO_WINDOW,
    ProcessInformation,
    Program,
    StartupInfo,
    check,
    library,
    open_directory,
    run,
)
from windows_steps.report import (
    ROOT,
    Skipped,
    fact,
    is_wine,
    kernel,
    new_name,
    note,
    require_kernel,
    require_windows,
)

__all__ = ["CONTAINER", "STEPS"]

LOW, MEDIUM = "S-1-16-4096", "S-1-16-8192"
ADMINISTRATORS, EVERYONE, RESTRICTED = "S-1-5-32-544", "S-1-1-0", "S-1-5-12"
SERVICE: Final = "S-1-5-80-1-2-3-4-5"  # as the SID of a service looks; no service needs to have it
WRITE_RESTRICTED: Final = 0x8
EXTENDED: Final = 0x00080000  # EXTENDED_STARTUPINFO_PRESENT
CONTAINER: Final = "npipe-check"
ALL_PACKAGES: Final = "*S-1-15-2-1"
_EXISTS: Final = 0x800700B7 - (1 << 32)  # HRESULT of ERROR_ALREADY_EXISTS


class SidAndAttributes(ctypes.Structure):
    _fields_ = (("sid", c_void_p), ("attributes", wintypes.DWORD))


class Capabilities(ctypes.Structure):
    _fields_ = (
        ("sid", c_void_p),
        ("list", c_void_p),
        ("count", wintypes.DWORD),
        ("r", wintypes.DWORD),
    )


def sid(text: str) -> c_void_p:
    """Return a SID; it is never released."""
    found = c_void_p()
    check(library("advapi32").ConvertStringSidToSidW(wintypes.LPCWSTR(text), byref(found)))
    return found


def copied_token(
    *,
    level: str = "",
    disabled: tuple[str, ...] = (),
    restricting: tuple[str, ...] = (),
    flags: int = 0,
) -> wintypes.HANDLE:
    """Return a copy of this process's token that may do less."""
    advapi, kernel32 = library("advapi32"), library("kernel32")
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    own, token = wintypes.HANDLE(), wintypes.HANDLE()
    duplicate_query_default_assign = 0x2 | 0x8 | 0x80 | 0x1
    process = wintypes.HANDLE(kernel32.GetCurrentProcess())
    check(advapi.OpenProcessToken(process, duplicate_query_default_assign, byref(own)))

    def entries(sids: tuple[str, ...]) -> Any:
        return (
            (SidAndAttributes * len(sids))(*(SidAndAttributes(sid(text), 0) for text in sids))
            if sids
            else None
        )

    if disabled or restricting:
        groups, limits = entries(disabled), entries(restricting)
        made = advapi.CreateRestrictedToken(
            own, flags, len(disabled), groups, 0, None, len(restricting), limits, byref(token)
        )
    else:
        maximum, impersonation, primary = 0x02000000, 2, 1
        made = advapi.DuplicateTokenEx(own, maximum, None, impersonation, primary, byref(token))
    check(made)
    if level:
        integrity, token_integrity_level = 0x20, 25
        label = SidAndAttributes(sid(level), integrity)
        size = wintypes.DWORD(sizeof(label))
        check(advapi.SetTokenInformation(token, token_integrity_level, byref(label), size))
    kernel32.CloseHandle(own)
    return token


def start_with(token: wintypes.HANDLE | None, command: list[str], attributes: Any = None) -> None:
    """Start a program with a token, or with attributes for a new process.

    It inherits the standard output: a low program may write to what is open already.
    """
    start, made = StartupInfo(), ProcessInformation()
    start.cb = sizeof(start) if attributes else StartupInfo.attributes.offset
    start.attributes = ctypes.addressof(attributes) if attributes else None
    line = ctypes.create_unicode_buffer(subprocess.list2cmdline(command))
    at = wintypes.LPCWSTR(os.environ.get("PUBLIC", "C:\\"))
    flags = NO_WINDOW | (EXTENDED if attributes else 0)
    rest = (None, line, None, None, False, flags, None, at, byref(start), byref(made))
    if token is None:
        check(library("kernel32").CreateProcessW(*rest))
    else:
        check(library("advapi32").CreateProcessAsUserW(token, *rest))
    for handle in (made.process, made.thread):
        library("kernel32").CloseHandle(wintypes.HANDLE(handle))


def results(start: Callable[[list[str]], None], *addresses: str, low: bool = False) -> list[str]:
    """Return what a program, started so, found at each address, and whether it may listen."""
    with open_directory() as directory:
        if low:  # what the program writes to is below it then
            run("icacls", str(directory), "/setintegritylevel", "(OI)(CI)low")
        return Program(directory, start, CONNECT, *addresses).lines(len(addresses) + 1)


def integrity() -> None:
    """W4: programs of low and medium integrity at this user's pipes, and this one at theirs."""
    require_kernel("it has one process")
    api = kernel()
    elevated = api.is_elevated()
    user = api.process_sids()[1]
    labels = {"no label": "", "a high label": "S:(ML;;NW;;;HI)", "a low label": "S:(ML;;NW;;;LW)"}
    if not elevated:
        del labels["a high label"]  # above one's own level
        note("not elevated: what a medium program may do at an elevated server is not measured")
    for name, level, disabled in (
        ("medium", MEDIUM, (ADMINISTRATORS,)),
        ("low", LOW, (ADMINISTRATORS,)),
    ):
        own = [npipe.listen(new_name(), access="owner")]
        for label in labels.values():
            sddl = f"O:{user}D:P(A;;FA;;;{user}){label}"
            own.append(npipe.listen(new_name(), access=sddl))
        assumed = {"no label": "connected" if name == "medium" else "PermissionError 5"}
        assumed |= {"a high label": "PermissionError 5", "a low label": "connected"}
        first = "PermissionError 5" if name == "low" or elevated else "connected"
        try:
            token = copied_token(level=level, disabled=disabled)
            found = results(
                lambda command, token=token: start_with(token, command),  # type: ignore[misc]
                *(listener.address.path for listener in own),
                low=name == "low",
            )
        finally:
            for listener in own:
                listener.close()
        fact(f'a {name} program at a pipe for "owner"', first, found[0])
        for label, seen in zip(labels, found[1:], strict=False):
            fact(f"a {name} program at a pipe with {label}", assumed[label], seen)


def restricted() -> None:
    """W9: a program whose token is restricted for writing, as that of a hardened service."""
    require_windows("restricted tokens open everything there")
    user = kernel().process_sids()[1]
    for what, sddl, assumed in (
        ("the user", f"O:{user}D:P(A;;FA;;;{user})", "PermissionError 5"),
        (
            "the user and the service",
            f"O:{user}D:P(A;;FA;;;{user})(A;;FA;;;{SERVICE})",
            "connected",
        ),
    ):
        token = copied_token(restricting=(SERVICE, RESTRICTED), flags=WRITE_RESTRICTED)
        with npipe.listen(new_name(), access=sddl) as listener:
            found = results(
                lambda command, token=token: start_with(token, command),  # type: ignore[misc]
                listener.address.path,
            )
        fact(f"a write-restricted program at a pipe for {what}", assumed, found[0])


@contextmanager
def app_container_attributes() -> Iterator[Any]:
    """Make an AppContainer, and yield the attributes of a process in it."""
    userenv, kernel32 = library("userenv"), library("kernel32")
    found = c_void_p()
    name = wintypes.LPCWSTR(CONTAINER)
    result = userenv.CreateAppContainerProfile(name, name, name, None, 0, byref(found))
    if result == _EXISTS:
        result = userenv.DeriveAppContainerSidFromAppContainerName(name, byref(found))
    if result:
        raise OSError(f"no AppContainer: HRESULT {result & 0xFFFFFFFF:#x}")
    try:
        size, security_capabilities = c_size_t(), 0x00020009
        kernel32.InitializeProcThreadAttributeList(None, 1, 0, byref(size))
        attributes = ctypes.create_string_buffer(size.value)
        check(kernel32.InitializeProcThreadAttributeList(attributes, 1, 0, byref(size)))
        wanted = Capabilities(found, None, 0, 0)
        check(
            kernel32.UpdateProcThreadAttribute(
                attributes,
                0,
                c_size_t(security_capabilities),
                byref(wanted),
                c_size_t(sizeof(wanted)),
                None,
                None,
            )
        )
        yield attributes
        kernel32.DeleteProcThreadAttributeList(attributes)
    finally:
        userenv.DeleteAppContainerProfile(name)


def app_container() -> None:
    r"""docs/windows.md: what a program in an AppContainer may open, outside and in LOCAL\."""
    require_windows("it has no AppContainers")
    user = kernel().process_sids()[1]
    for place in {Path(sys.base_prefix), Path(sys.prefix), ROOT / "src"}:  # it has to read Python
        run("icacls", str(place), "/grant", f"{ALL_PACKAGES}:(OI)(CI)RX", "/t", "/q", "/c")
    packages = f"O:{user}D:P(A;;FA;;;{user})(A;;0x12019b;;;AC)S:(ML;;NW;;;LW)"
    with (
        npipe.listen(new_name()) as own,
        npipe.listen(new_name(), access=packages) as opened,
        app_container_attributes() as attributes,
    ):
        local = new_name().replace("\\pipe\\", "\\pipe\\LOCAL\\")
        addresses = [own.address.path, opened.address.path]
        found = []
        for last in (own.address.path, local):  # CONNECT listens at its first address
            with open_directory() as directory:
                run("icacls", str(directory), "/setintegritylevel", "(OI)(CI)low")
                run("icacls", str(directory), "/grant", f"{ALL_PACKAGES}:(OI)(CI)F")

                def start(command: list[str]) -> None:
                    start_with(None, command, attributes)

                found.append(Program(directory, start, CONNECT, last, *addresses).lines(4))
    outside, inside = found
    fact('a program in an AppContainer at a pipe for "owner"', "PermissionError 5", outside[1])
    fact("at a pipe for all application packages", "connected", outside[2])
    fact("making an instance outside of its namespace", "PermissionError", outside[3])
    fact(r"making a pipe in \\.\pipe\LOCAL", "listens", inside[3])


def same_token() -> None:
    """The way of starting programs with another token, tried with a copy that may do the same."""
    require_kernel("it starts no programs")
    try:
        token = copied_token()
        with npipe.listen(new_name()) as listener:
            found = results(lambda command: start_with(token, command), listener.address.path)
    except OSError as error:
        if not is_wine():
            raise
        raise Skipped(f"Wine: {error}") from None
    fact("a program with a copy of this token", "connected", found[0])


STEPS: Final[tuple[Callable[[], None], ...]] = (same_token, integrity, restricted, app_container)
