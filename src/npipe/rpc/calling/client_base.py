"""Base of both clients: the state of the connection, and its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import Protocol

from npipe.rpc.calling.deadline import check_timeout
from npipe.rpc.session.outgoing_calls import Members
from npipe.rpc.session.session import Session
from npipe.security import PeerIdentity

__all__ = ["ClientBase"]

log: logging.Logger = logging.getLogger("npipe.rpc")


class Connected(Protocol):
    """The driver of a client's connection."""

    @property
    def session(self) -> Session: ...


class ClientBase:
    """The state of a client that lasts longer than one of its connections."""

    _driver: Connected  # of the connection that was made last

    def _begin(
        self, reconnect: float | None, on_disconnect: Callable[[str], object] | None
    ) -> None:
        """Check and keep the options; for those of ``connect``."""
        self._reconnect: float | None = check_timeout(reconnect, "reconnect")
        self._on_disconnect = on_disconnect
        self._closed = False
        self._ids = count(1)
        self._members: Members | None = None

    @property
    def closed(self) -> bool:
        """True if no more calls can be made.

        That is after ``close``, or after the connection was lost if the client does not reconnect.
        """
        return self._closed or (self._reconnect is None and not self.connected)

    @property
    def connected(self) -> bool:
        """True while there is a connection. A client that reconnects makes one at the next call."""
        raise NotImplementedError

    def set_members(self, members: Members | None) -> None:
        """Add members such as ``traceparent`` to each request object, beside ``method``.

        Args:
            members: Returns the members to add. It is called in the thread or task that makes the
                call, so it can read the trace context of that call. None: add none.
        """
        self._members = members
        self._driver.session.outgoing_calls.members = members

    @property
    def peer(self) -> PeerIdentity | None:
        """The identity of the server process, as reported by the kernel. None: unknown."""
        return self._driver.session.peer

    def _ended(self, driver: Connected, reason: str) -> None:
        """Report the end of a connection; an error of ``on_disconnect`` is logged."""
        log.debug("connection to %s closed (%s)", driver.session.peer, reason)
        if self._on_disconnect is not None and not self._closed:
            try:
                self._on_disconnect(reason)
            except Exception:
                log.exception("on_disconnect")
