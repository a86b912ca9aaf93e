"""A Unix socket of another machine, where there is SSH: the program to reach it with.

``ssh host npipe cat /path`` carries the bytes, so the machine needs npipe, and no right to forward
anything is needed. Nothing is opened here.
"""

from __future__ import annotations

import shlex
from typing import TypeGuard
from urllib.parse import unquote, urlsplit

__all__ = ["is_ssh", "ssh_command"]


def is_ssh(text: object) -> TypeGuard[str]:
    """Return whether ``text`` is such an endpoint, right or wrong."""
    return isinstance(text, str) and text.lower().startswith("ssh:")


def ssh_command(url: str) -> list[str]:
    """Return the program that connects to ``ssh://[user@]host[:port]/path``.

    ``/path`` is absolute; ``/~/path`` starts in the user's home directory there. What the URL
    cannot say, such as keys and jump hosts, is said in the configuration of ssh.

    Raises:
        ValueError: It is no such URL.
    """
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
    # "--": a host or user is never an option. The quotes: the shell there takes the words apart.
    return ["ssh", *options, "--", target, f"npipe cat {shlex.quote(path)}"]


def _bad(url: str, why: str) -> ValueError:
    return ValueError(f"bad address {url!r}: {why}")
