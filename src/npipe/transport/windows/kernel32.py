"""Bindings to the Windows calls that named pipes need. They contain no policy.

This is the only module of npipe that imports ctypes. ``Kernel32`` has one method per Windows call.
A method returns the result of the call or its Windows error code (0 for success), so that no other
module reads the last error of the thread. Tests replace the object by another with the same
methods (``tests/transport/windows/fake_kernel32``).

The module can be imported on any system, for type checks and for those tests; ``load()`` works on
Windows only. The names are those of Microsoft: each is the title of a page in the Windows API
reference.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_size_t, c_void_p, wintypes
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# --- constants, by the call that takes them ------------------------------------------------------

INVALID_HANDLE_VALUE: Final = (1 << (8 * ctypes.sizeof(c_void_p))) - 1
INFINITE: Final = 0xFFFFFFFF

# CreateNamedPipe: open mode, pipe mode, instances
PIPE_ACCESS_INBOUND: Final = 0x1  # the server reads
PIPE_ACCESS_OUTBOUND: Final = 0x2  # the server writes
PIPE_ACCESS_DUPLEX: Final = 0x3
FILE_FLAG_FIRST_PIPE_INSTANCE: Final = 0x00080000
FILE_FLAG_OVERLAPPED: Final = 0x40000000
PIPE_TYPE_BYTE: Final = 0x0
PIPE_TYPE_MESSAGE: Final = 0x4
PIPE_READMODE_MESSAGE: Final = 0x2
PIPE_REJECT_REMOTE_CLIENTS: Final = 0x8
PIPE_UNLIMITED_INSTANCES: Final = 255

# GetNamedPipeInfo: flags
PIPE_SERVER_END: Final = 0x1

# CreateFile
OPEN_EXISTING: Final = 3
SECURITY_SQOS_PRESENT: Final = 0x00100000
SECURITY_ANONYMOUS: Final = 0x00000
SECURITY_IDENTIFICATION: Final = 0x10000
SECURITY_IMPERSONATION: Final = 0x20000
SECURITY_DELEGATION: Final = 0x30000
SECURITY_CONTEXT_TRACKING: Final = 0x40000

# WaitNamedPipe; 0 means the server's default and 0xFFFFFFFF means no limit
NMPWAIT_NOWAIT: Final = 1

WAIT_OBJECT_0: Final = 0
WAIT_TIMEOUT: Final = 258
STATUS_PENDING: Final = 0x103  # OVERLAPPED.Internal until the operation has ended
THREAD_TERMINATE: Final = 0x1  # the right that CancelSynchronousIo requires

# NtQueryInformationFile
FILE_MODE_INFORMATION: Final = 16
FILE_SYNCHRONOUS_IO: Final = 0x10 | 0x20  # ..._ALERT, ..._NONALERT
FILE_PIPE_LOCAL_INFORMATION: Final = 24

# tokens and security descriptors
TOKEN_IMPERSONATE: Final = 0x4
TOKEN_QUERY: Final = 0x8
TOKEN_USER: Final = 1
TOKEN_PRIMARY_GROUP: Final = 5
TOKEN_ELEVATION: Final = 20
SE_KERNEL_OBJECT: Final = 6
ERROR_NO_TOKEN: Final = 1008  # OpenThreadToken: the thread uses the token of its process
OWNER_SECURITY_INFORMATION: Final = 0x1
DACL_SECURITY_INFORMATION: Final = 0x4
LABEL_SECURITY_INFORMATION: Final = 0x10
SDDL_REVISION_1: Final = 1
ADMINISTRATORS: Final = "S-1-5-32-544"
MEDIUM_LEVEL: Final = 0x2000  # the integrity level of an object without a label
HIGH_LEVEL: Final = 0x3000
_LEVELS: Final = {"LW": 0x1000, "ME": MEDIUM_LEVEL, "HI": HIGH_LEVEL, "SI": 0x4000}

# These functions of ctypes exist on Windows only.
_format_message: Final[Callable[[int], str]] = getattr(ctypes, "FormatError", str)
_last_error: Final[Callable[[], int]] = getattr(ctypes, "get_last_error", lambda: 0)


def format_error(code: int) -> str:
    """Return the text of Windows for an error code."""
    return _format_message(code).rstrip(". \r\n")


# --- memory --------------------------------------------------------------------------------------


class OVERLAPPED(Structure):
    """Memory that the kernel writes when an operation ends; it has to exist until then."""

    _fields_ = (
        ("Internal", c_size_t),  # the status: STATUS_PENDING until the operation has ended
        ("InternalHigh", c_size_t),  # the number of bytes transferred
        ("Offset", wintypes.DWORD),
        ("OffsetHigh", wintypes.DWORD),
        ("hEvent", wintypes.HANDLE),
    )


class SECURITY_ATTRIBUTES(Structure):
    _fields_ = (
        ("nLength", wintypes.DWORD),
        ("lpSecurityDescriptor", c_void_p),
        ("bInheritHandle", wintypes.BOOL),
    )


def overlapped(event: int) -> tuple[OVERLAPPED, Any]:
    """Return an OVERLAPPED that sets ``event``, and the reference to pass to the calls."""
    structure = OVERLAPPED(hEvent=event)
    return structure, byref(structure)


def address_of(buffer: WriteableBuffer) -> Any:
    """Return a pointer to a writable buffer of at least one byte; the pointer pins the buffer."""
    return byref(ctypes.c_char.from_buffer(buffer))


def address_of_bytes(data: bytes) -> Any:
    """Return a pointer to the data of ``data``, for reading only; the caller keeps ``data``."""
    return ctypes.c_char_p(data)


# --- calls ---------------------------------------------------------------------------------------

_HANDLE, _DWORD, _BOOL, _TEXT = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, wintypes.LPCWSTR
_INT, _HANDLE_P, _DWORD_P = ctypes.c_int, POINTER(wintypes.HANDLE), POINTER(wintypes.DWORD)
_VOID, _VOID_P, _OVERLAPPED_P = c_void_p, POINTER(c_void_p), POINTER(OVERLAPPED)
_ATTRIBUTES_P = POINTER(SECURITY_ATTRIBUTES)

# name: (result, arguments), by library
_SIGNATURES: Final[dict[str, dict[str, tuple[Any, tuple[Any, ...]]]]] = {
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


class Kernel32:
    """The Windows calls. Handles are ints; a code is a Windows error code, 0 for success.

    A function is looked up at its first use: Wine and old versions of Windows lack some functions,
    and only their use raises AttributeError.
    """

    def __getattr__(self, name: str) -> Any:
        """Bind the Windows function for the attribute ``_Name`` and store it."""
        exported = name.removeprefix("_")
        for library, functions in _SIGNATURES.items():
            if exported in functions:
                function = getattr(_library(library), exported)
                function.restype, function.argtypes = functions[exported]
                setattr(self, name, function)
                return function
        raise AttributeError(f"no binding is called {exported}")

    # -- pipes

    def CreateNamedPipe(
        self,
        name: str,
        open_mode: int,
        pipe_mode: int,
        *,
        instances: int,
        buffer_size: int,
        descriptor: int | None,
    ) -> tuple[int, int]:
        """Create an instance; return (code, handle).

        ``descriptor`` is the address of a security descriptor.
        """
        attributes = SECURITY_ATTRIBUTES(ctypes.sizeof(SECURITY_ATTRIBUTES), descriptor, False)
        sizes = (buffer_size, buffer_size, 0)  # output, input, default timeout of WaitNamedPipe
        handle = self._CreateNamedPipeW(
            name, open_mode, pipe_mode, instances, *sizes, byref(attributes)
        )
        return (_last_error(), 0) if handle == INVALID_HANDLE_VALUE else (0, handle)

    def CreateFile(self, name: str, access: int, flags: int) -> tuple[int, int]:
        """Open an existing pipe, not shared and not inheritable; return (code, handle)."""
        handle = self._CreateFileW(name, access, 0, None, OPEN_EXISTING, flags, None)
        return (_last_error(), 0) if handle == INVALID_HANDLE_VALUE else (0, handle)

    def ConnectNamedPipe(self, handle: int, overlapped: Any) -> int:
        return 0 if self._ConnectNamedPipe(handle, overlapped) else _last_error()

    def DisconnectNamedPipe(self, handle: int) -> int:
        return 0 if self._DisconnectNamedPipe(handle) else _last_error()

    def WaitNamedPipe(self, name: str, milliseconds: int) -> int:
        return 0 if self._WaitNamedPipeW(name, milliseconds) else _last_error()

    def PeekNamedPipe(self, handle: int) -> tuple[int, int]:
        """Return (code, number of bytes that can be read now)."""
        available = wintypes.DWORD()
        done = self._PeekNamedPipe(handle, None, 0, None, byref(available), None)
        return 0 if done else _last_error(), available.value

    def ReadFile(self, handle: int, buffer: Any, size: int, overlapped: Any) -> int:
        """Begin to read. ``OVERLAPPED.InternalHigh`` holds the number of bytes at the end."""
        return 0 if self._ReadFile(handle, buffer, size, None, overlapped) else _last_error()

    def WriteFile(self, handle: int, buffer: Any, size: int, overlapped: Any) -> int:
        """Begin to write. ``OVERLAPPED.InternalHigh`` holds the number of bytes at the end."""
        return 0 if self._WriteFile(handle, buffer, size, None, overlapped) else _last_error()

    def GetOverlappedResult(self, handle: int, overlapped: Any, wait: bool) -> tuple[int, int]:
        """Return (code, number of bytes transferred)."""
        count = wintypes.DWORD()
        if self._GetOverlappedResult(handle, overlapped, byref(count), wait):
            return 0, count.value
        return _last_error(), count.value

    def CancelIoEx(self, handle: int, overlapped: Any) -> int:
        return 0 if self._CancelIoEx(handle, overlapped) else _last_error()

    def FlushFileBuffers(self, handle: int) -> int:
        """Block until the other end has read all bytes; CancelSynchronousIo ends the call."""
        return 0 if self._FlushFileBuffers(handle) else _last_error()

    def GetNamedPipeInfo(self, handle: int) -> tuple[int, int, int, int]:
        """Return (code, flags, output buffer size, input buffer size)."""
        flags, out, in_ = wintypes.DWORD(), wintypes.DWORD(), wintypes.DWORD()
        done = self._GetNamedPipeInfo(handle, byref(flags), byref(out), byref(in_), None)
        return 0 if done else _last_error(), flags.value, out.value, in_.value

    def SetNamedPipeHandleState(self, handle: int, mode: int) -> int:
        done = self._SetNamedPipeHandleState(handle, byref(wintypes.DWORD(mode)), None, None)
        return 0 if done else _last_error()

    def GetNamedPipeProcessId(self, handle: int, *, server: bool) -> int | None:
        """Return the process id of the server's or the client's end; None if it is not known."""
        call = self._GetNamedPipeServerProcessId if server else self._GetNamedPipeClientProcessId
        return _number(call, handle)

    def GetNamedPipeSessionId(self, handle: int, *, server: bool) -> int | None:
        """Return the session id of the server's or the client's end; None if it is not known."""
        call = self._GetNamedPipeServerSessionId if server else self._GetNamedPipeClientSessionId
        return _number(call, handle)

    def is_overlapped(self, handle: int) -> bool:
        """Tell whether the handle was opened with FILE_FLAG_OVERLAPPED; True if unknown.

        Without the flag a read blocks a write of another thread, and the other way round.
        """
        status = (c_size_t * 2)()
        mode = wintypes.DWORD()
        failed = self._NtQueryInformationFile(
            handle, status, byref(mode), ctypes.sizeof(mode), FILE_MODE_INFORMATION
        )
        return bool(failed) or not mode.value & FILE_SYNCHRONOUS_IO

    def has_unread(self, handle: int) -> bool:
        """Tell whether the other end may have unread bytes; True if unknown.

        This queries the quotas of the pipe (Microsoft page "FILE_PIPE_LOCAL_INFORMATION"). A read
        that waits at the other end may use quota too, so only False is certain.
        """
        status = (c_size_t * 2)()
        # Type, configuration, instances (2), inbound quota, data, outbound quota, room, state, end.
        facts = (wintypes.DWORD * 10)()
        failed = self._NtQueryInformationFile(
            handle, status, facts, ctypes.sizeof(facts), FILE_PIPE_LOCAL_INFORMATION
        )
        return bool(failed) or facts[7] < max(facts[4], facts[6])

    # -- handles, events, threads

    def CloseHandle(self, handle: int) -> int:
        return 0 if self._CloseHandle(handle) else _last_error()

    def CreateEvent(self) -> tuple[int, int]:
        """Create a manual-reset event, not set; return (code, handle)."""
        handle = self._CreateEventW(None, True, False, None)
        return (0, handle) if handle else (_last_error(), 0)

    def SetEvent(self, event: int) -> int:
        return 0 if self._SetEvent(event) else _last_error()

    def ResetEvent(self, event: int) -> int:
        return 0 if self._ResetEvent(event) else _last_error()

    def WaitForSingleObject(self, handle: int, milliseconds: int) -> int:
        """Return WAIT_OBJECT_0 or WAIT_TIMEOUT."""
        return int(self._WaitForSingleObject(handle, milliseconds))

    def WaitForMultipleObjects(self, handles: list[int], milliseconds: int) -> int:
        """Wait for any of at most 64 handles; return the lowest signalled index or WAIT_TIMEOUT."""
        array = (wintypes.HANDLE * len(handles))(*handles)
        return int(self._WaitForMultipleObjects(len(handles), array, False, milliseconds))

    def CancelSynchronousIo(self, thread_id: int) -> int:
        """Cancel the blocking call of a thread; return ERROR_NOT_FOUND if it is in no such call."""
        thread = self._OpenThread(THREAD_TERMINATE, False, thread_id)
        if not thread:
            return _last_error()
        done = self._CancelSynchronousIo(thread)
        code = 0 if done else _last_error()
        self._CloseHandle(thread)
        return code

    # -- security

    def descriptor(self, sddl: str) -> tuple[int, int]:
        """Return (code, address of a security descriptor); release it with ``LocalFree``."""
        address = c_void_p()
        made = self._ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl, SDDL_REVISION_1, byref(address), None
        )
        return (0, address.value or 0) if made else (_last_error(), 0)

    def LocalFree(self, address: int) -> None:
        self._LocalFree(address)

    def pipe_owner(self, handle: int) -> tuple[int, str | None]:
        """Return (code, SID of the pipe's owner as text)."""
        owner, descriptor = c_void_p(), c_void_p()
        code = self._GetSecurityInfo(
            handle,
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            byref(owner),
            None,
            None,
            None,
            byref(descriptor),
        )
        if code:
            return code, None
        sid = self._sid_text(owner) if owner else None
        self._LocalFree(descriptor)
        return 0, sid

    def pipe_dacl(self, handle: int) -> tuple[int, str]:
        """Return (code, the access list of the pipe as SDDL)."""
        return self._security_text(handle, DACL_SECURITY_INFORMATION)

    def pipe_level(self, handle: int) -> tuple[int, int]:
        """Return (code, integrity level of the pipe): 0x2000 is medium, 0x3000 high.

        An object without a label counts as medium (Microsoft page "Mandatory Integrity Control").
        """
        code, sddl = self._security_text(handle, LABEL_SECURITY_INFORMATION)
        label = re.search(r"\(ML;[^)]*;([\w-]+)\)", sddl)
        if not label:
            return code, MEDIUM_LEVEL
        return code, _LEVELS.get(label[1]) or int(label[1].rpartition("-")[2])

    def _security_text(self, handle: int, what: int) -> tuple[int, str]:
        descriptor, text = c_void_p(), c_void_p()
        code = self._GetSecurityInfo(
            handle, SE_KERNEL_OBJECT, what, None, None, None, None, byref(descriptor)
        )
        if code:
            return code, ""
        done = self._ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor, SDDL_REVISION_1, what, byref(text), None
        )
        code = 0 if done else _last_error()
        self._LocalFree(descriptor)
        return (code, self._take_text(text)) if done else (code, "")

    def process_sids(self) -> tuple[int, str, str]:
        """Return (code, SID of this process's user, SID of its primary group)."""
        token = wintypes.HANDLE()
        if not self._OpenProcessToken(self._GetCurrentProcess(), TOKEN_QUERY, byref(token)):
            return _last_error(), "", ""
        user_code, user = self._token_sid(token, TOKEN_USER)
        group_code, group = self._token_sid(token, TOKEN_PRIMARY_GROUP)
        self._CloseHandle(token)
        return user_code or group_code, user, group

    def is_elevated(self) -> bool:
        """Tell whether this process runs elevated (Microsoft page "TOKEN_ELEVATION")."""
        token, elevated, size = wintypes.HANDLE(), wintypes.DWORD(), wintypes.DWORD()
        if not self._OpenProcessToken(self._GetCurrentProcess(), TOKEN_QUERY, byref(token)):
            return False
        what = (TOKEN_ELEVATION, byref(elevated), ctypes.sizeof(elevated), byref(size))
        known = self._GetTokenInformation(token, *what)
        self._CloseHandle(token)
        return bool(known and elevated.value)

    def is_administrator(self) -> bool:
        """Tell whether the Administrators group is enabled in the caller's token."""
        sid, member = c_void_p(), wintypes.BOOL()
        if not self._ConvertStringSidToSidW(ADMINISTRATORS, byref(sid)):
            return False
        known = self._CheckTokenMembership(None, sid, byref(member))
        self._LocalFree(sid)
        return bool(known and member.value)

    def client_sid(self, handle: int) -> tuple[int, str]:
        """Return (code, SID of the user in the client's token).

        The thread impersonates that user from the first call to the last, and then returns to the
        token that it had before, also after an exception (KeyboardInterrupt). All preparation is
        done before the impersonation, to keep it short.

        Raises:
            SystemError: The impersonation could not be ended.
        """
        impersonate, revert = self._ImpersonateNamedPipeClient, self._RevertToSelf
        open_token, thread = self._OpenThreadToken, self._GetCurrentThread()
        set_token, before = self._SetThreadToken, wintypes.HANDLE()
        if not open_token(thread, TOKEN_QUERY | TOKEN_IMPERSONATE, True, byref(before)):
            code = _last_error()
            if code not in (0, ERROR_NO_TOKEN):  # the token to return to is not known
                return code, ""
        token = wintypes.HANDLE()
        acting = True  # assumed until the call is known to have failed
        try:
            acting = opened = impersonate(handle)
            if acting:
                opened = open_token(thread, TOKEN_QUERY, True, byref(token))
            code = 0 if opened else _last_error()
        finally:
            if acting and not (set_token(None, before) if before else revert()):
                # Without this error the rest of the program would run as another user.
                raise SystemError("cannot end the impersonation of a client of a named pipe")
            if before:
                self._CloseHandle(before)
        if not opened:
            return code, ""
        code, sid = self._token_sid(token, TOKEN_USER)
        self._CloseHandle(token)
        return code, sid

    def _token_sid(self, token: Any, what: int) -> tuple[int, str]:
        # TOKEN_USER and TOKEN_PRIMARY_GROUP both begin with a pointer to the SID.
        memory = (ctypes.c_char * 512)()
        size = wintypes.DWORD()
        if not self._GetTokenInformation(token, what, memory, len(memory), byref(size)):
            return _last_error(), ""
        return 0, self._sid_text(c_void_p.from_buffer(memory)) or ""

    def _sid_text(self, sid: c_void_p) -> str | None:
        text = c_void_p()
        return self._take_text(text) if self._ConvertSidToStringSidW(sid, byref(text)) else None

    def _take_text(self, text: c_void_p) -> str:
        value = ctypes.wstring_at(text.value or 0)
        self._LocalFree(text)
        return value


def _number(call: Any, handle: int) -> int | None:
    value = wintypes.DWORD()
    return value.value if call(handle, byref(value)) else None


@functools.cache
def _library(name: str) -> Any:
    # A private instance, so that the signatures set on it do not affect other users of ctypes.
    return getattr(ctypes, "WinDLL")(name, use_last_error=True)  # noqa: B009  (Windows only)


@functools.cache
def load() -> Kernel32:
    """Return the bindings of this process."""
    return Kernel32()
