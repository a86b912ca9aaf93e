"""Identities on a Windows pipe: owner of a pipe, user of a client, verification of a server.

Microsoft pages: ImpersonateNamedPipeClient, "Impersonation Levels", GetSecurityInfo, "Mandatory
Integrity Control".
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Final, Literal

from npipe.address import Address
from npipe.security import PeerIdentity, owner_is_trusted
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.kernel32.constants import HIGH_LEVEL
from npipe.transport.windows.winerror import ERROR_CANNOT_IMPERSONATE, ERROR_CANT_OPEN_ANONYMOUS

__all__ = ["Verify", "peer_of", "require_verify", "verify"]

Verify = Literal["owner"] | Callable[[PeerIdentity], object] | None

_log: Final = logging.getLogger("npipe.transport")


def require_verify(check: Verify) -> None:
    """Raise ValueError if ``check`` is not a value that ``verify_server`` may have."""
    if check is not None and check != "owner" and not callable(check):
        raise ValueError(f'verify_server={check!r}: give "owner", a function or None')


def verify(handle: int, address: Address, check: Verify, api: Kernel32) -> None:
    """Verify the server of a pipe that a client has opened, before the first byte is sent.

    "owner" accepts a pipe of the current user, of SYSTEM or of the Administrators. A program that
    runs elevated does not accept a pipe that an ordinary program of the same user can create: the
    owner must be SYSTEM or the Administrators, or the pipe must have a high integrity label.

    Args:
        handle: Handle of the client's end.
        address: Address of the pipe, for the error.
        check: "owner"; a function that takes the PeerIdentity of the server and returns whether
            to accept it; or None, which checks nothing.
        api: The bindings.

    Raises:
        PermissionError: The server is not accepted.
        ValueError: ``check`` is not one of the possible values.
    """
    if check is None:
        return
    require_verify(check)
    if check == "owner":
        code, owner = api.pipe_owner(handle)
        user = "" if code else api.process_sids()[1]
        if api.is_elevated() and api.pipe_level(handle)[1] < HIGH_LEVEL:
            if owner_is_trusted(owner, ""):
                return
            why = f"this program is elevated, and {owner or 'its maker'} need not be"
        else:
            if owner_is_trusted(owner, user):
                return
            why = f"it belongs to {owner or 'an unknown user'}, not to this user"
    else:
        if check(peer_of(handle, api, server_end=False)):
            return
        why = "verify_server turned it down"
    text = f"the server was not accepted: {why} (verify_server=None turns this check off)"
    raise PermissionError(errno.EACCES, text, address.path)


def peer_of(handle: int, api: Kernel32, *, server_end: bool) -> PeerIdentity:
    """Return the identity of the other end of the pipe.

    Args:
        handle: Handle of the pipe.
        api: The bindings.
        server_end: Whether ``handle`` is the server's end.

    Returns:
        The identity. At the server's end ``sid`` is the user of the client's token; it is None
        for an anonymous client and, for most clients, until the server has read from the pipe
        (Microsoft page "ImpersonateNamedPipeClient"). At the client's end ``sid`` is the owner of
        the pipe. After an unexpected Windows error it is None.
    """
    if server_end:
        code, sid = api.client_sid(handle)
        if code not in (0, ERROR_CANNOT_IMPERSONATE, ERROR_CANT_OPEN_ANONYMOUS):
            _log.debug("the client of a pipe cannot be identified: Windows error %d", code)
    else:
        code, owner = api.pipe_owner(handle)
        sid = owner or ""
    return PeerIdentity(
        pid=api.GetNamedPipeProcessId(handle, server=not server_end),
        sid=sid or None,
        session=api.GetNamedPipeSessionId(handle, server=not server_end),
    )
