"""Command that connects to a Unix socket of another machine over SSH.

``ssh host npipe cat /path`` carries the bytes, so the other machine needs npipe, but SSH forwarding
does not have to be allowed. This module does not run the command.
"""

from __future__ import annotations

from typing import TypeGuard

__all__ = ["is_ssh", "ssh_command"]


def is_ssh(text: object) -> TypeGuard[str]:
    """Tell whether ``text`` begins with ``ssh:``; the rest may be wrong."""
    return isinstance(text, str) and text.lower().startswith("ssh:")


def ssh_command(url: str) -> list[str]:
    """Return the command that connects to ``ssh://[user@]host[:port]/path``.

    Other settings, such as keys and jump hosts, belong in the configuration of ssh (man page
    ssh_config(5)).

    Args:
        url: The URL. ``/path`` is absolute; ``/~/path`` is relative to the user's home directory
            on the other machine.

    Returns:
        The program and its arguments.

    Raises:
        ValueError: ``url`` is not such a URL.
    """
    import shlex  # these are slow to import: not before they are needed
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError as error:
        raise _bad(url, str(error)) from None
    path = unquote(parts.path)
    if not host or not path.strip("/") or "\0" in path or parts.query or parts.fragment:
        raise _bad(url, "give ssh://host/path, ssh://user@host:port/path or ssh://host/~/path")
    if parts.password is not None:
        raise _bad("ssh://...", "a password does not belong in it: use a key")
    if path.startswith("/~/"):
        path = "./" + path[3:]
    target = f"{unquote(user)}@{host}" if user else host
    options = ["-p", str(port)] if port else []
    # "--" keeps a host or user from being read as an option. The quotes are for the remote shell,
    # which splits the command into words.
    return ["ssh", *options, "--", target, f"npipe cat {shlex.quote(path)}"]


def _bad(url: str, why: str) -> ValueError:
    return ValueError(f"bad address {url!r}: {why}")
