"""Whether a client is the owner of this server. Only the owner may use admin and personal."""

from __future__ import annotations

import functools
import os
import sys

from npipe.security import PeerIdentity, peer_is_user

__all__ = ["is_owner"]


def is_owner(peer: PeerIdentity) -> bool:
    """Tell whether the peer is this process's user, or root. An unknown peer is not."""
    if sys.platform == "win32":
        return peer.sid is not None and peer.sid == _own_sid()
    return peer_is_user(peer, os.geteuid())


@functools.cache
def _own_sid() -> str | None:
    """Return the SID of the user of this process. It never changes, so it is read once."""
    if sys.platform != "win32":
        return None
    from npipe.transport.windows.kernel32 import load

    code, user, _ = load().process_sids()
    return user if code == 0 else None
