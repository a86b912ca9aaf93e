"""Functions of the Windows libraries: their signatures, and the lookup at their first use."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from ctypes import POINTER, c_size_t, c_void_p, wintypes
from typing import Any, Final

from npipe.transport.windows.kernel32.memory import OVERLAPPED, SECURITY_ATTRIBUTES

__all__ = ["SIGNATURES", "Functions", "format_error", "last_error"]

# These functions of ctypes exist on Windows only.
_format_message: Final[Callable[[int], str]] = getattr(ctypes, "FormatError", str)
last_error: Final[Callable[[], int]] = getattr(ctypes, "get_last_error", lambda: 0)

_HANDLE, _DWORD, _BOOL, _TEXT = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR
_INT, _HANDLE_P, _DWORD_P = ctypes.c_int, POINTER(wintypes.HANDLE), POINTER(wintypes.DWORD)
_VOID, _VOID_P, _OVERLAPPED_P = c_void_p, POINTER(c_void_p), POINTER(OVERLAPPED)
_ATTRIBUTES_P = POINTER(SECURITY_ATTRIBUTES)

# name: (result, arguments), by library
SIGNATURES: Final[dict[str, dict[str, tuple[Any, tuple[Any, ...]]]]] = {
    "kernel32": {
        "CreateNamedPipeW": (_HANDLE, (_TEXT, *[_DWORD] * 6, _ATTRIBUTES_P)),
        "CreateFileW": (_HANDLE, (_TEXT, _DWORD, _DWORD, _VOID, _DWORD, _DWORD, _HANDLE)),
        "ConnectNamedPipe": (_BOOL, (_HANDLE, _OVERLAPPED_P)),
        "DisconnectNamedPipe": (_BOOL, (_HANDLE,)),
        "WaitNamedPipeW": (_BOOL, (_TEXT, _DWORD)),
        "PeekNamedPipe": (_BOOL, (_HANDLE, _VOID, _DWORD, _DWORD_P, _DWORD_P, _DWORD_P)),
        "ReadFile": (_BOOL, (_HANDLE, _VOID, _DWORD, _VOID, _OVERLAPPED_P)),
        "WriteFile": (_BOOL, (_HANDLE, _VOID, _DWORD, _VOID, _OVERLAPPED_P)),
        "GetOverlappedResult": (_BOOL, (_HANDLE, _OVERLAPPED_P, _DWORD_P, _BOOL)),
        "CancelIoEx": (_BOOL, (_HANDLE, _OVERLAPPED_P)),
        "CancelSynchronousIo": (_BOOL, (_HANDLE,)),
        "OpenThread": (_HANDLE, (_DWORD, _BOOL, _DWORD)),
        "FlushFileBuffers": (_BOOL, (_HANDLE,)),
        "CloseHandle": (_BOOL, (_HANDLE,)),
        "CreateEventW": (_HANDLE, (_VOID, _BOOL, _BOOL, _TEXT)),
        "SetEvent": (_BOOL, (_HANDLE,)),
        "ResetEvent": (_BOOL, (_HANDLE,)),
        "CreateIoCompletionPort": (_HANDLE, (_HANDLE, _HANDLE, c_size_t, _DWORD)),
        "SetFileCompletionNotificationModes": (_BOOL, (_HANDLE, wintypes.BYTE)),
        "GetQueuedCompletionStatusEx": (
            _BOOL,
            (_HANDLE, _VOID, wintypes.ULONG, POINTER(wintypes.ULONG), _DWORD, _BOOL),
        ),
        "PostQueuedCompletionStatus": (_BOOL, (_HANDLE, _DWORD, c_size_t, _VOID)),
        "WaitForSingleObject": (_DWORD, (_HANDLE, _DWORD)),
        "WaitForMultipleObjects": (_DWORD, (_DWORD, _VOID, _BOOL, _DWORD)),
        "SetNamedPipeHandleState": (_BOOL, (_HANDLE, _DWORD_P, _DWORD_P, _DWORD_P)),
        "GetNamedPipeInfo": (_BOOL, (_HANDLE, *[_DWORD_P] * 4)),
        "GetNamedPipeClientProcessId": (_BOOL, (_HANDLE, _DWORD_P)),
        "GetNamedPipeServerProcessId": (_BOOL, (_HANDLE, _DWORD_P)),
        "GetNamedPipeClientSessionId": (_BOOL, (_HANDLE, _DWORD_P)),
        "GetNamedPipeServerSessionId": (_BOOL, (_HANDLE, _DWORD_P)),
        "LocalFree": (_VOID, (_VOID,)),
        "GetCurrentProcess": (_HANDLE, ()),
        "GetCurrentThread": (_HANDLE, ()),
    },
    "advapi32": {
        "ImpersonateNamedPipeClient": (_BOOL, (_HANDLE,)),
        "RevertToSelf": (_BOOL, ()),
        "SetThreadToken": (_BOOL, (_VOID, _HANDLE)),
        "CheckTokenMembership": (_BOOL, (_HANDLE, _VOID, POINTER(_BOOL))),
        "ConvertStringSidToSidW": (_BOOL, (_TEXT, _VOID_P)),
        "OpenThreadToken": (_BOOL, (_HANDLE, _DWORD, _BOOL, _HANDLE_P)),
        "OpenProcessToken": (_BOOL, (_HANDLE, _DWORD, _HANDLE_P)),
        "GetTokenInformation": (_BOOL, (_HANDLE, _INT, _VOID, _DWORD, _DWORD_P)),
        "ConvertSidToStringSidW": (_BOOL, (_VOID, _VOID_P)),
        "ConvertStringSecurityDescriptorToSecurityDescriptorW": (
            _BOOL,
            (_TEXT, _DWORD, _VOID_P, _DWORD_P),
        ),
        "ConvertSecurityDescriptorToStringSecurityDescriptorW": (
            _BOOL,
            (_VOID, _DWORD, _DWORD, _VOID_P, _DWORD_P),
        ),
        "GetSecurityInfo": (_DWORD, (_HANDLE, _INT, _DWORD, *[_VOID_P] * 5)),
    },
    "ntdll": {
        "NtQueryInformationFile": (wintypes.LONG, (_HANDLE, _VOID, _VOID, _DWORD, _INT)),
    },
}


def format_error(code: int) -> str:
    """Return the text of Windows for an error code."""
    return _format_message(code).rstrip(". \r\n")


class Functions:
    """The functions of the libraries, each as the attribute ``_Name``.

    A function is looked up at its first use: Wine and old versions of Windows lack some functions,
    and only their use raises AttributeError.
    """

    def __getattr__(self, name: str) -> Any:
        """Bind the Windows function for the attribute ``_Name`` and store it."""
        exported = name.removeprefix("_")
        for library, functions in SIGNATURES.items():
            if exported in functions:
                function = getattr(_library(library), exported)
                function.restype, function.argtypes = functions[exported]
                setattr(self, name, function)
                return function
        raise AttributeError(f"no binding is called {exported}")


@functools.cache
def _library(name: str) -> Any:
    # A private instance, so that the signatures set on it do not affect other users of ctypes.
    return getattr(ctypes, "WinDLL")(name, use_last_error=True)  # noqa: B009  (Windows only)
