"""Checks of a client's endpoint that both flavours share. Sans-I/O: nothing is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

__all__ = ["check_reconnect", "is_command", "refuse_pipe_options", "wrong_endpoint"]


def is_command(endpoint: object) -> TypeGuard[Sequence[str]]:
    """Tell whether an endpoint is the command line of a program."""
    return (
        isinstance(endpoint, list | tuple)
        and len(endpoint) > 0
        and all(isinstance(word, str) for word in endpoint)
    )


def wrong_endpoint(endpoint: object) -> TypeError:
    """Return the error for an object that is not an endpoint."""
    return TypeError(
        "an endpoint is an address, a path, a command line (list of str), a connection or a "
        f"server, not {type(endpoint).__name__}"
    )


def check_reconnect(reconnect: float | None, *, exists: bool) -> None:
    """Reject ``reconnect`` for an open connection. Raises ValueError."""
    if exists and reconnect is not None:
        raise ValueError(
            "reconnect needs an address or a command, not an open connection: leave it out"
        )


def refuse_pipe_options(options: Mapping[str, object]) -> None:
    """Reject options that protect or configure a pipe, for an endpoint that is none.

    To ignore ``verify_server`` would connect to a server that was not verified. Raises ValueError.
    """
    for name in ("verify_server", "remote"):
        if options.get(name) not in (None, "auto"):
            raise ValueError(f"{name} is for the address of a pipe only: leave it out")
