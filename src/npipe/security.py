"""Who may connect, and who is at the other end.

Pure data and pure text: what an ``access`` option means on each system, and the record of a peer.
The backends in ``transport/`` ask the kernel; no system call is made here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PeerIdentity", "mode_for"]


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who is at the other end of a connection, as the kernel tells it. None: it does not tell.

    ``uid`` and ``gid`` are those of the process that connected (or listens), at that moment, on
    POSIX. ``sid`` is the user of the other end's token, on Windows. ``pid`` is a hint only: the
    number may belong to another process by the time you look.
    """

    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    sid: str | None = None
    session: int | None = None


# To connect to a Unix socket is to write to it. Read goes along, as people expect of a mode.
_MODES = {"owner": 0o600, "group": 0o660, "everyone": 0o666}


def mode_for(access: str | int) -> int:
    """Return the mode of the socket file that the option ``access`` asks for, on POSIX.

    Raises ValueError for anything else, a Windows security descriptor (SDDL) above all: it has no
    meaning here, and to guess one would open or shut the wrong door.
    """
    if isinstance(access, str):
        if access in _MODES:
            return _MODES[access]
        if ":" in access:
            raise ValueError(
                f"access={access!r} is a Windows security descriptor, which means nothing on this "
                f'system: give "owner", "group", "everyone" or a mode such as 0o660'
            )
    elif not isinstance(access, bool) and 0 <= access <= 0o777:
        return access
    raise ValueError(
        f'access={access!r}: give "owner", "group", "everyone" or a mode such as 0o660'
    )


def peer_is_user(peer: PeerIdentity, uid: int) -> bool:
    """Say whether the peer is the user ``uid`` or root, who could be any user anyway."""
    return peer.uid is not None and peer.uid in (uid, 0)


def mode_admits(mode: int, peer: PeerIdentity, uid: int, gid: int) -> bool:
    """Say whether a file of ``uid`` and ``gid`` with this mode would let the peer connect.

    For sockets that have no file. Only the peer's first group is known to the kernel's record.
    """
    if peer.uid is None:
        return False
    if mode & 0o002 or peer_is_user(peer, uid):
        return True
    return bool(mode & 0o020) and peer.gid == gid
