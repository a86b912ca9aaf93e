"""Converts words of the command line to parameters of a call. Pure: no I/O, no click.

A word that is JSON has that value; another word is a string, so ``0x1`` and ``latest`` need no
second quotes. A word that begins like JSON and is invalid is an error, not a string.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from npipe.rpc.limits import MAX_DEPTH
from npipe.rpc.wire import framing

__all__ = ["parse_named", "parse_param", "parse_params"]


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def parse_param(word: str) -> Any:
    """Return the value of ``word``. Raises ValueError, whose message contains the remedy.

    >>> [parse_param(word) for word in ("7", "-1", "0x1", "latest", "true", '"7"')]
    [7, -1, '0x1', 'latest', True, '7']
    """
    try:
        _check_depth(word)
        return json.loads(word, parse_constant=_refuse_constant)
    except ValueError as error:
        if word.lstrip()[:1] in ('"', "[", "{"):
            raise ValueError(f"not JSON: {word}: {_reason(error)}") from None
    if word.startswith("-") and word not in ("-Infinity", "-"):
        raise ValueError(f"no such option: {word} (to send it as text: '\"{word}\"')")
    return word


def _check_depth(word: str) -> None:
    """Raise ValueError if a parameter is nested deeper than any server accepts.

    Python's recursion limit does not help: py-evm raises it so far that the JSON decoder overflows
    the C stack first.
    """
    if max(word.count("["), word.count("{")) > MAX_DEPTH:
        framing.make("ndjson").feed(word.encode(errors="replace") + b"\n")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos + 1}"
    return str(error)


def parse_params(words: Iterable[str]) -> list[Any]:
    """Return the parameters by position."""
    return [parse_param(word) for word in words]


def parse_named(words: Iterable[str]) -> dict[str, Any]:
    """Return the parameters by name, from words of the form ``name=value``."""
    named: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"with --named write each parameter as NAME=VALUE, not {word!r}")
        if name in named:
            raise ValueError(f"the parameter {name!r} is given twice")
        named[name] = parse_param(value)
    return named
