"""Access options and peer identities.

This module defines the meaning of an ``access`` option on each system, and the record that
identifies a peer. It makes no system call; the backends in ``transport/`` do.
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
    """Identity of the process at the other end of a connection, as the kernel reports it.

    A field is None (or empty) where the system does not report it. For a client that connects
    through Samba, Samba reports every field except ``pid`` and ``session``.

    Args:
        pid: Process id. It is a hint only: the kernel may have given the number to another
            process since the connection was made.
        uid: Effective user id of the process at the time it connected or began to listen, on
            POSIX (man page unix(7), SO_PEERCRED; getpeereid(3) on macOS). For a client of Samba,
            the id that its user has on this system.
        gid: Effective group id at the same time, on POSIX.
        sid: Security identifier of the user of the peer's token, on Windows, as a string such as
            ``S-1-5-21-...`` (Microsoft page "Security Identifiers").
        session: Terminal Services session of the process, on Windows.
        account: Account name of a client of Samba; for the server of a remote pipe, its service
            principal, if Kerberos proved it.
        domain: Domain of that account, for a client of Samba.
        sids: SID of the user, then those of its groups, for a client of Samba.
        groups: Group ids on this system of the user, for a client of Samba.
        host: IP address of a client of Samba; for the server of a remote pipe, the host name that
            was connected to.
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


# Connecting to a Unix socket needs write permission only (man page unix(7)). Read permission is
# set too, because users expect the usual modes.
_MODES = {"owner": 0o600, "group": 0o660, "everyone": 0o666}


def mode_for(access: str | int) -> int:
    """Return the file mode of the socket for the option ``access``, on POSIX.

    Args:
        access: "owner", "group", "everyone" or a file mode from 0 to 0o777.

    Returns:
        The file mode: 0o600, 0o660 or 0o666 for the three words.

    Raises:
        ValueError: ``access`` is anything else. A Windows security descriptor (SDDL) is refused
            because it has no exact equivalent on POSIX.
    """
    if isinstance(access, str):
        if access in _MODES:
            return _MODES[access]
        if ":" in access:
            raise ValueError(
                f"access={access!r} is a Windows security descriptor, which this system does not "
                f'have: give "owner", "group", "everyone" or a mode such as 0o660'
            )
    elif isinstance(access, int) and not isinstance(access, bool) and 0 <= access <= 0o777:
        return access
    raise ValueError(
        f'access={access!r}: give "owner", "group", "everyone" or a mode such as 0o660'
    )


def peer_is_user(peer: PeerIdentity, uid: int) -> bool:
    """Tell whether the peer runs as the user ``uid`` or as root.

    Root counts because a process of root can change to any user id (man page setuid(2)).

    Args:
        peer: The identity of the peer.
        uid: The user id to compare with.

    Returns:
        True if ``peer.uid`` is ``uid`` or 0; False also where ``peer.uid`` is None.
    """
    return peer.uid is not None and peer.uid in (uid, 0)


def mode_admits(mode: int, peer: PeerIdentity, uid: int, gid: int) -> bool:
    """Tell whether a socket file with this mode and owner would let the peer connect.

    This applies the rules of a file mode to a socket that has no file (an abstract socket). The
    kernel reports only the peer's effective group, so supplementary groups do not count.

    Args:
        mode: File mode, such as 0o660. Only the write bits matter.
        peer: The identity of the peer.
        uid: User id of the owner.
        gid: Group id of the owner.

    Returns:
        True if the peer may connect.
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


# Rights of other users on a Windows pipe: read and write data and attributes, read the security
# descriptor, synchronize. Generic write (GW, FW) would add FILE_APPEND_DATA, which on a pipe is
# FILE_CREATE_PIPE_INSTANCE (Microsoft page "Named Pipe Security and Access Rights"): other users
# could then create instances and serve its clients.
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
    """Return the security descriptor for the option ``access`` on Windows.

    The user, whose process also creates the later instances, and SYSTEM get full access. The
    descriptor names the owner, for clients that verify it. For an elevated program, "owner" does
    not admit ordinary programs of the same user: full access goes to the Administrators group,
    which the token of an ordinary program has for denials only, and a high integrity label
    refuses reads and writes from lower levels (Microsoft pages "Security Identifiers", "Mandatory
    Integrity Control").

    Args:
        access: "owner", "group", "everyone" or a descriptor in SDDL.
        user: The SID of the server's user.
        group: The SID of its primary group.
        elevated: Whether the server runs elevated.
        administrator: Whether its token has the Administrators group enabled.

    Returns:
        The descriptor in SDDL (Microsoft page "Security Descriptor String Format").

    Raises:
        ValueError: ``access`` is anything else, such as a POSIX mode.
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
        f'("D:P(...)"); Windows has no file modes'
    )


def owner_is_trusted(owner: str | None, user: str) -> bool:
    """Tell whether the owner of a pipe is the user, SYSTEM or the Administrators group.

    The last two count because their processes can act as any user of the computer.

    Args:
        owner: SID of the pipe's owner; None if it is unknown.
        user: SID of the user.

    Returns:
        True if the owner is trusted; False if it is unknown.
    """
    return bool(owner) and owner in (user, _SYSTEM, _ADMINISTRATORS)
