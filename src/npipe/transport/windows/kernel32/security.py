"""Bindings to the calls on security descriptors, tokens and SIDs."""

from __future__ import annotations

import ctypes
import re
from ctypes import byref, c_void_p, wintypes
from typing import Any, Final

from npipe.transport.windows.kernel32.constants import (
    ADMINISTRATORS,
    DACL_SECURITY_INFORMATION,
    ERROR_NO_TOKEN,
    HIGH_LEVEL,
    LABEL_SECURITY_INFORMATION,
    MEDIUM_LEVEL,
    OWNER_SECURITY_INFORMATION,
    SDDL_REVISION_1,
    SE_KERNEL_OBJECT,
    TOKEN_ELEVATION,
    TOKEN_IMPERSONATE,
    TOKEN_PRIMARY_GROUP,
    TOKEN_QUERY,
    TOKEN_USER,
)
from npipe.transport.windows.kernel32.functions import Functions, last_error

__all__ = ["SecurityCalls"]

_LEVELS: Final = {"LW": 0x1000, "ME": MEDIUM_LEVEL, "HI": HIGH_LEVEL, "SI": 0x4000}


class SecurityCalls(Functions):
    """Calls on the access list of an object, and on the user of a process or a client."""

    def descriptor(self, sddl: str) -> tuple[int, int]:
        """Return (code, address of a security descriptor); release it with ``LocalFree``."""
        address = c_void_p()
        made = self._ConvertStringSecurityDescriptorToSecurityDescriptorW(
            sddl, SDDL_REVISION_1, byref(address), None
        )
        return (0, address.value or 0) if made else (last_error(), 0)

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
        code = 0 if done else last_error()
        self._LocalFree(descriptor)
        return (code, self._take_text(text)) if done else (code, "")

    def process_sids(self) -> tuple[int, str, str]:
        """Return (code, SID of this process's user, SID of its primary group)."""
        token = wintypes.HANDLE()
        if not self._OpenProcessToken(self._GetCurrentProcess(), TOKEN_QUERY, byref(token)):
            return last_error(), "", ""
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
            code = last_error()
            if code not in (0, ERROR_NO_TOKEN):  # the token to return to is not known
                return code, ""
        token = wintypes.HANDLE()
        acting = True  # assumed until the call is known to have failed
        try:
            acting = opened = impersonate(handle)
            if acting:
                opened = open_token(thread, TOKEN_QUERY, True, byref(token))
            code = 0 if opened else last_error()
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
            return last_error(), ""
        return 0, self._sid_text(c_void_p.from_buffer(memory)) or ""

    def _sid_text(self, sid: c_void_p) -> str | None:
        text = c_void_p()
        return self._take_text(text) if self._ConvertSidToStringSidW(sid, byref(text)) else None

    def _take_text(self, text: c_void_p) -> str:
        value = ctypes.wstring_at(text.value or 0)
        self._LocalFree(text)
        return value
