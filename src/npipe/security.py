"""Who may connect, and who is at the other end.

Pure data and pure text: what an ``access`` option means on each system, and the record of a peer.
The backends in ``transport/`` ask the kernel; no system call is made here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PeerIdentity"]


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
