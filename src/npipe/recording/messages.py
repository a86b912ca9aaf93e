"""Classification of decoded JSON-RPC messages, for replay and playback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["Item", "calls", "is_call", "is_reply", "items", "key", "question", "with_values"]

Item = dict[str, Any]


def items(message: Any) -> list[Item]:
    """Return the objects in a message: all of a batch, or the single one."""
    found = message if isinstance(message, list) else [message]
    return [item for item in found if isinstance(item, dict)]


def is_call(item: Item) -> bool:
    """Tell whether an object is a call, which must be answered."""
    return "method" in item and "id" in item


def is_reply(item: Item) -> bool:
    """Tell whether an object is the reply to a call."""
    return "method" not in item and ("result" in item or "error" in item)


def calls(message: Any) -> Iterator[Item]:
    """Yield the calls in a message."""
    return (item for item in items(message) if is_call(item))


def key(value: Any) -> str:
    """Return the same text for equal JSON values, regardless of the order of members."""
    return json.dumps(value, sort_keys=True)


def question(item: Item) -> str:
    """Return the same text for calls with the same method and parameters."""
    return key([item.get("method"), item.get("params") or []])


def with_values(value: Any, replaced: dict[str, Any]) -> Any:
    """Return a copy of ``value`` with each string in ``replaced`` exchanged, at any depth."""
    if isinstance(value, str):
        return replaced.get(value, value)
    if isinstance(value, list):
        return [with_values(each, replaced) for each in value]
    if isinstance(value, dict):
        return {name: with_values(each, replaced) for name, each in value.items()}
    return value
