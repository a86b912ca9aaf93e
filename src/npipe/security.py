"""Who may connect, and who is at the other end.

Pure data and pure text: what an ``access`` option means on each system, and the record of a peer.
The backends in ``transport/`` ask the kernel; no system call is made here.
"""

from __future__ import annotations

from npipe.record import Record

__all__ = [
    "PeerIdentity",
    "descriptor_for",
    "mode_admits",
    "mode_for",
    "owner_is_trusted",
    "peer_is_user",
]


class PeerIdentity(Record):
    """Who is at the other end of a connection, as the kernel tells it. None: it does not tell.

    ``uid`` and ``gid`` are those of the process that connected (or listens), at that moment, on
    POSIX. ``sid`` is the user of the other end's token, on Windows. ``pid`` is a hint only: the
    number may belong to another process by the time you look.

    Of a client that comes through Samba, Samba tells all but ``pid`` and ``session``: ``account``
    and ``domain``, ``sid``, ``sids`` (the user's, then those of its groups), ``uid``, ``gid`` and
    ``groups`` as on this system, and ``host``, its IP address. Of the server of a remote pipe,
    ``host`` is the name that was connected to, and ``account`` its service principal, if Kerberos
    proved it.
    """

    _fields = ("pid", "uid", "gid", "sid", "session", "account", "domain", "sids", "groups", "host")
    __slots__ = _fields

    pid: int | None
    uid: int | None
    gid: int | None
    sid: str | None
    session: int | None
    account: str | None
    domain: str | None
    sids: tuple[str, ...]
    groups: tuple[int, ...]
    host: str | None

    def __init__(
        self,
        pid: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        sid: str | None = None,
        session: int | None = None,
        *,
        account: str | None = None,
        domain: str | None = None,
        sids: tuple[str, ...] = (),
        groups: tuple[int, ...] = (),
        host: str | None = None,
    ) -> None:
        self._set(
            pid=pid,
            uid=uid,
            gid=gid,
            sid=sid,
            session=session,
            account=account,
            domain=domain,
            sids=sids,
            groups=groups,
            host=host,
        )


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
    elif isinstance(access, int) and not isinstance(access, bool) and 0 <= access <= 0o777:
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
    if mode & 0o002:
        return True
    if peer.uid is None:
        return False
    if peer.uid == 0:
        return True
    if peer.uid == uid:
        return bool(mode & 0o200)
    return bool(mode & 0o020) and peer.gid == gid


# What others may do with a Windows pipe: read and write data and attributes, see its descriptor,
# wait on it. Generic write (GW, FW) would add FILE_APPEND_DATA, and on a pipe that bit means "make
# more instances": others could then serve its clients.
_OTHERS = "0x12019b"
_SYSTEM = "S-1-5-18"
_ADMINISTRATORS = "S-1-5-32-544"


def descriptor_for(
    access: str | int,
    user: str,
    group: str,
    *,
    elevated: bool = False,
    administrator: bool = False,
) -> str:
    """Return the security descriptor that the option ``access`` asks for on Windows.

    The user, who makes the later instances too, and the system may do everything. The owner is
    named, for clients that verify it. An elevated program with "owner" admits no ordinary program
    of the same user: full access goes to the Administrators, which the token of such a program
    holds for denials only, and a high integrity label refuses reads and writes from below
    (Microsoft pages "Security Identifiers", "Mandatory Integrity Control").

    Args:
        access: "owner", "group", "everyone" or a descriptor in SDDL.
        user: The SID of the server's user.
        group: The SID of its primary group.
        elevated: Whether the server runs elevated.
        administrator: Whether its token has the Administrators group enabled.

    Returns:
        SDDL (Microsoft page "Security Descriptor String Format").

    Raises:
        ValueError: Anything else, a POSIX mode above all.
    """
    if access == "owner" and elevated:
        full = _ADMINISTRATORS if administrator else user
        return f"O:{full}D:P(A;;FA;;;{full})(A;;FA;;;SY)S:(ML;;NRNW;;;HI)"
    own = f"O:{user}D:P(A;;FA;;;{user})(A;;FA;;;SY)"
    if access == "owner":
        return own
    if access == "group":
        return f"{own}(A;;{_OTHERS};;;{group})"
    if access == "everyone":
        return f"{own}(A;;{_OTHERS};;;WD)"
    if isinstance(access, str) and access.startswith(("O:", "G:", "D:", "S:")):
        return access
    raise ValueError(
        f'access={access!r}: give "owner", "group", "everyone" or a security descriptor in SDDL '
        f'("D:P(...)"); a mode means nothing on Windows'
    )


def owner_is_trusted(owner: str | None, user: str) -> bool:
    """Tell whether a pipe of this owner was made by the user, or by one who could be any user."""
    return bool(owner) and owner in (user, _SYSTEM, _ADMINISTRATORS)
