"""Text to address. Pure: nothing here touches the file system or the network.

Never stat, resolve or test a pipe's path to learn about it: on Windows that connects to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Address"]


@dataclass(frozen=True, slots=True)
class Address:
    r"""Where a server listens.

    ``kind`` is "pipe" (Windows; ``path`` is ``\\.\pipe\name``, or ``\\host\pipe\name`` with
    ``host`` set), "unix" (``path`` is the socket file) or "abstract" (Linux; ``path`` is the name
    without the leading NUL). ``str()`` gives the text that parses to the same address.
    """

    kind: Literal["pipe", "unix", "abstract"]
    path: str
    host: str | None = None

    def __str__(self) -> str:
        return "@" + self.path if self.kind == "abstract" else self.path
