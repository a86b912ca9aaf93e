"""The keywords of ``npipe.connect`` and ``npipe.listen`` in the functions of every integration."""

from __future__ import annotations

from typing import Any, cast

from npipe.options import ConnectOptions, ListenOptions

__all__ = ["ConnectOptions", "ListenOptions", "split"]


def split(options: dict[str, Any]) -> tuple[ConnectOptions, dict[str, Any]]:
    """Split keywords into those of ``npipe.connect`` and those of the library."""
    ours = {name: options[name] for name in ConnectOptions.__annotations__ if name in options}
    rest = {name: value for name, value in options.items() if name not in ours}
    return cast(ConnectOptions, ours), rest
