"""The keywords of ``npipe.connect`` and ``npipe.listen`` that every integration accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, cast

from npipe.security import PeerIdentity

if TYPE_CHECKING:
    from npipe import Smb

__all__ = ["ConnectOptions", "ListenOptions", "split"]


class ConnectOptions(TypedDict, total=False):
    """Keywords of ``npipe.connect``; ``connect_timeout`` is missing: each library has its own."""

    wait: bool
    verify_server: str | Callable[[PeerIdentity], object] | None
    impersonation: str
    remote: Smb | None


class ListenOptions(TypedDict, total=False):
    """Keywords of ``npipe.listen``."""

    access: str | int
    backlog: int | None
    message_mode: bool
    reject_remote: bool
    buffer_size: int


def split(options: dict[str, Any]) -> tuple[ConnectOptions, dict[str, Any]]:
    """Split keywords into those of ``npipe.connect`` and those of the library."""
    ours = {name: options[name] for name in ConnectOptions.__annotations__ if name in options}
    rest = {name: value for name, value in options.items() if name not in ours}
    return cast(ConnectOptions, ours), rest
