"""What the fake kernel answers about a pipe, its ends and its security.

Microsoft pages: GetNamedPipeInfo, ImpersonateNamedPipeClient, GetSecurityInfo, "Impersonation
Levels".
"""

from __future__ import annotations

import re

from npipe.transport.windows.kernel32.constants import PIPE_SERVER_END, PIPE_TYPE_MESSAGE
from npipe.transport.windows.winerror import (
    ERROR_CANNOT_IMPERSONATE,
    ERROR_CANT_OPEN_ANONYMOUS,
    ERROR_INVALID_HANDLE,
    ERROR_INVALID_PARAMETER,
)
from transport.windows.fake_kernel32.objects import End, Name
from transport.windows.fake_kernel32.tokens import ADMINISTRATORS, level_of
from transport.windows.fake_kernel32.transfer import Transfer


class Questions(Transfer):
    """The calls that ask."""

    def __init__(self) -> None:
        super().__init__()
        self._descriptors: dict[int, str] = {}

    def GetNamedPipeInfo(self, handle: int) -> tuple[int, int, int, int]:
        with self._changed:
            if code := self._enter("GetNamedPipeInfo", handle):
                return code, 0, 0, 0
            end = self._handles.get(handle)
            if not isinstance(end, End):
                return ERROR_INVALID_HANDLE, 0, 0, 0
            name = end.pipe.name
            kind = name.mode & PIPE_TYPE_MESSAGE
            return 0, kind | (PIPE_SERVER_END if end.server else 0), name.quota, name.quota

    def SetNamedPipeHandleState(self, handle: int, mode: int) -> int:
        with self._changed:
            if code := self._enter("SetNamedPipeHandleState", handle, mode):
                return code
            self._get(handle, End, "SetNamedPipeHandleState").message_reads = bool(mode & 0x2)
            return 0

    def GetNamedPipeProcessId(self, handle: int, *, server: bool) -> int | None:
        end = self._end_of(handle, server)
        return end.pid if end else None

    def GetNamedPipeSessionId(self, handle: int, *, server: bool) -> int | None:
        end = self._end_of(handle, server)
        return end.session if end else None

    def _end_of(self, handle: int, server: bool) -> End | None:
        end = self._handles[handle]
        return end if end.server is server else end.other

    def is_overlapped(self, handle: int) -> bool:
        return True

    def has_unread(self, handle: int) -> bool:
        """As the quotas tell it. A read that waits at the other end uses quota as well."""
        with self._changed:
            self._enter("has_unread", handle)
            end = self._get(handle, End, "has_unread")
            other = end.other
            return bool(other and other.open and (other.incoming or other.reads))

    # -- security

    def descriptor(self, sddl: str) -> tuple[int, int]:
        with self._changed:
            if code := self._enter("descriptor", sddl):
                return code, 0
            if not re.fullmatch(r"([OG]:[\w-]+)*(D:P?(\([^()]*\))*)?(S:.*)?", sddl):
                return ERROR_INVALID_PARAMETER, 0
            address = next(self._numbers)
            self._descriptors[address] = sddl
            return 0, address

    def LocalFree(self, address: int) -> None:
        with self._changed:
            if self._descriptors.pop(address, None) is None:
                self.faults.append(f"LocalFree of {address}, which is not allocated")

    def _name_of(self, handle: int) -> Name:
        name: Name = self._handles[handle].pipe.name
        return name

    def pipe_owner(self, handle: int) -> tuple[int, str | None]:
        if code := self._enter("pipe_owner", handle):
            return code, None
        return 0, self._name_of(handle).owner

    def pipe_level(self, handle: int) -> tuple[int, int]:
        if code := self._enter("pipe_level", handle):
            return code, 0
        return 0, level_of(self._name_of(handle).sddl)[1]

    def process_sids(self) -> tuple[int, str, str]:
        return self._enter("process_sids"), self.token.user, self.token.group

    def is_elevated(self) -> bool:
        return self.token.elevated

    def is_administrator(self) -> bool:
        return ADMINISTRATORS in self.token.groups

    def client_sid(self, handle: int) -> tuple[int, str]:
        if code := self._enter("client_sid", handle):
            return code, ""
        instance = self._handles[handle].pipe
        if instance.level == "anonymous":
            return ERROR_CANT_OPEN_ANONYMOUS, ""
        if instance.token is None:
            return ERROR_CANNOT_IMPERSONATE, ""
        return 0, instance.token.user
