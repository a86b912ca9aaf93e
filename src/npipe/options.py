"""Keywords of ``npipe.connect`` and ``npipe.listen``, for functions that pass them on.

Such a function declares ``**options: Unpack[ConnectOptions]``, so that type checkers and editors
know each keyword. Two keywords are missing. The time for connecting is a parameter of the function
itself. ``mode`` is not an option, because JSON-RPC and other protocols need both directions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from npipe.security import PeerIdentity

if TYPE_CHECKING:
    from npipe.transport.smb.options import Smb

__all__ = ["ConnectOptions", "ListenOptions", "ServeOptions"]


class ConnectOptions(TypedDict, total=False):
    """Keywords of ``npipe.connect``, which describes each."""

    wait: bool
    verify_server: str | Callable[[PeerIdentity], object] | None
    impersonation: str
    remote: Smb | None


class ListenOptions(TypedDict, total=False):
    """Keywords of ``npipe.listen``, which describes each."""

    access: str | int
    backlog: int | None
    message_mode: bool
    reject_remote: bool
    buffer_size: int


class ServeOptions(ListenOptions, total=False):
    """Keywords of ``npipe.rpc.Server.serve``: ``ListenOptions``, and those of a NATS address.

    A ``nats://`` address takes the following only, and another address none of them.

    Attributes:
        stateless: Whether the calls of one client may go to several workers.
        timeout: Seconds for the broker to answer.
        silence: Seconds without a message after which a client counts as lost.
    """

    stateless: bool
    timeout: float
    silence: float
