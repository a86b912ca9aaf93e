"""``make_poller``: chooses epoll, another selector or a completion port for this system."""

from __future__ import annotations

import sys

from npipe.rpc.threads.loop.poller import Poller

__all__ = ["make_poller"]


def make_poller() -> Poller:
    """Return the fastest poller of this system.

    Raises:
        OSError: The system has no descriptor, or no handle, left.
    """
    if sys.platform == "win32":
        from npipe.rpc.threads.loop.port_poller import PortPoller

        return PortPoller()
    if sys.platform == "linux":
        from npipe.rpc.threads.loop.selector_poller import EpollPoller

        return EpollPoller()
    from npipe.rpc.threads.loop.selector_poller import SelectorPoller

    return SelectorPoller()
