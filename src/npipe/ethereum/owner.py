"""Whether a client is the user who runs this server: who may use admin and personal."""

from __future__ import annotations

import functools
import os
import sys

from npipe.security import PeerIdentity, peer_is_user

__all__ = ["is_owner"]


def is_owner(peer: PeerIdentity) -> bool:
    """Whether the peer is this process's own user (or root). Not known counts as no."""
    if sys.platform == "win32":
        return peer.sid is not None and peer.sid == _own_sid()
    return peer_is_user(peer, os.geteuid())


@functools.cache
def _own_sid() -> str | None:
    """The user of this process, who does not change."""
    if sys.platform != "win32":
        return None
    from npipe.transport.windows.kernel32 import load

    code, user, _ = load().process_sids()
    return user if code == 0 else None
