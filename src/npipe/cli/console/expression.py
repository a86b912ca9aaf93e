"""Parse a line of the console to a call. Pure: no terminal, no connection.

The language is a small part of JavaScript, as in geth's console, and of the shell::

    eth_blockNumber                      the method's own name
    eth.blockNumber                      the same, in the style of JavaScript consoles
    eth.getBalance("0x..", "latest")     with parameters: JSON, or literals of JavaScript
    eth_getBalance 0x.. latest           with parameters as on the command line
    eth.getBlock("latest").hash          a member of the result
    eth.getBalance(eth.accounts[0])      a parameter that is called first
    {"method": "eth_call", ...}          a whole request, and [...] a batch of them
    .help                                a command of the console
    // ... and /* ... */                 comments, as is a line that begins with #
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "Command",
    "Invocation",
    "RequestObject",
    "is_complete",
    "is_in_string",
    "parse",
    "pick",
    "split_expressions",
]


@dataclass(frozen=True, slots=True)
class Invocation:
    """A method with parameters, and the path of the requested member of the result.

    A parameter may be an Invocation, which stands for its result.
    """

    method: str
    params: list[Any]
    path: tuple[str | int, ...] = ()
    dotted: bool = False  # written as namespace.method, as in JavaScript consoles


@dataclass(frozen=True, slots=True)
class Command:
    """A command to the console: ``.name words``."""

    name: str
    rest: str


@dataclass(frozen=True, slots=True)
class RequestObject:
    """Request objects written out: one, or a batch."""

    body: dict[str, Any] | list[Any]


_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    | (?P<hex>0[xX][0-9a-fA-F]*)
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<word>[A-Za-z_$][\w$]*)
    | (?P<mark>[][(){}:,.;])
    )""",
    re.VERBOSE,
)
_NAMES: Final = re.compile(r"[A-Za-z_$][\w$]*(?:\.[\w$]+)*")
_LITERALS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None, "undefined": None}
_EXPONENT_FROM: Final = 1e21  # from here on JavaScript formats numbers with an exponent
_DEPTH: Final = 64  # of brackets; typed lines have far fewer


def parse(text: str) -> Invocation | Command | RequestObject | None:
    """Parse one expression.

    Args:
        text: The expression, of one line or several, with or without comments.

    Returns:
        The parsed call, or None if the text has only blanks and comments.

    Raises:
        ValueError: The expression is invalid; the message names what was expected.
    """
    text = _without_comments(
        text.removeprefix("\ufeff")
    ).strip()  # some editors add a byte order mark
    if not text:
        return None
    if text.startswith("."):
        name, _, rest = text[1:].partition(" ")
        return Command(name, rest.strip())
    if text[0] in "{[":
        return RequestObject(_request(text))
    name, _, rest = text.partition(" ")
    if _NAMES.fullmatch(name) and rest.lstrip()[:1] not in ("", "(", ".", ";"):
        method, path, dotted = _method(name.split("."))
        return Invocation(method, _Parser(rest).words(), path, dotted)
    return _Parser(text).call()


def _request(text: str) -> dict[str, Any] | list[Any]:
    body: Any = json.loads(text)
    for request in body if isinstance(body, list) else [body]:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise ValueError('a request needs a "method"')
    if not body:
        raise ValueError("an empty batch has no calls")
    return body  # type: ignore[no-any-return]


def _method(names: list[str]) -> tuple[str, tuple[str | int, ...], bool]:
    """Split dotted names into the method and the path of a member: ``admin.nodeInfo.id``."""
    if not all(names):
        raise ValueError(f"not a method: {'.'.join(names)}")
    if "_" in names[0] or len(names) == 1:
        return names[0], tuple(names[1:]), False
    return f"{names[0]}_{names[1]}", tuple(names[2:]), True


class _Parser:
    """Recursive descent over one line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._kind = self._token = ""
        self._next_at = self._at = 0
        self._advance()

    def words(self) -> list[Any]:
        """Return values that are separated by blanks only."""
        values: list[Any] = []
        while self._kind:
            values.append(self._value(0))
        return values

    def call(self) -> Invocation:
        first = self._take("word", "a method, like eth_blockNumber or eth.blockNumber")
        call = self._call(first, 0)
        while self._token == ";":
            self._advance()
        if self._kind:
            raise self._expected("the end of the line")
        return call

    def _call(self, first: str, depth: int) -> Invocation:
        """Parse a call after its first name."""
        names = [first]
        while self._token == ".":
            self._advance()
            names.append(self._take("word", "a name"))
        method, path, dotted = _method(names)
        params: list[Any] = []
        if self._token == "(":
            if path:
                raise ValueError(f"a member of a result cannot be called: {'.'.join(names)}")
            params = self._items(")", depth)
        return Invocation(method, params, path + self._path(), dotted)

    def _path(self) -> tuple[str | int, ...]:
        path: list[str | int] = []
        while self._token in (".", "["):
            opened = self._token
            self._advance()
            if opened == ".":
                path.append(self._take("word", "a name"))
                continue
            key = self._value(0)
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise ValueError("inside [ ] write the number or the name of a member")
            path.append(key)
            self._mark("]")
        return tuple(path)

    def _value(self, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError("nested too deep")
        if self._token == "[":
            return self._items("]", depth)
        if self._token == "{":
            return self._object(depth)
        kind, token = self._kind, self._token
        if kind not in ("string", "hex", "number", "word"):
            raise self._expected("a value")
        self._advance()
        if kind == "word" and self._token == ".":
            return self._call(token, depth + 1)
        if kind == "string":
            return _string(token)
        if kind == "number":
            return _number(token)
        # 0x1 stays a string, as in JSON-RPC; a bare word is a string too.
        return _LITERALS.get(token, token) if kind == "word" else token

    def _items(self, closing: str, depth: int) -> list[Any]:
        self._advance()
        items: list[Any] = []
        while self._token != closing:
            items.append(self._value(depth + 1))
            if self._token != closing:
                self._mark(",", closing)
        self._advance()
        return items

    def _object(self, depth: int) -> dict[str, Any]:
        self._advance()
        members: dict[str, Any] = {}
        while self._token != "}":
            if self._kind not in ("string", "word", "number", "hex"):
                raise self._expected("a name")
            key = _string(self._token) if self._kind == "string" else self._token
            self._advance()
            self._mark(":")
            members[key] = self._value(depth + 1)
            if self._token != "}":
                self._mark(",", "}")
        self._advance()
        return members

    def _mark(self, mark: str, other: str = "") -> None:
        if self._token != mark or self._kind != "mark":
            raise self._expected(f"{mark} or {other}" if other else mark)
        self._advance()

    def _take(self, kind: str, wanted: str) -> str:
        token = self._token
        if self._kind != kind:
            raise self._expected(wanted)
        self._advance()
        return token

    def _advance(self) -> None:
        self._at = self._next_at
        if not self._text[self._at :].strip():
            self._kind = self._token = ""
            return
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise self._expected("something else")
        self._kind = match.lastgroup or ""
        self._token = match[self._kind]
        self._next_at = match.end()

    def _expected(self, wanted: str) -> ValueError:
        rest = self._text[self._at :].strip()
        if rest[:1] == "=":
            return ValueError("the console has no variables: it evaluates one call at a time")
        return ValueError(f"expected {wanted} at {rest[:20]!r}" if rest else f"expected {wanted}")


def _number(token: str) -> int | float:
    """Return a number as JavaScript would send it: 1e18 is an integer."""
    number: int | float = json.loads(token)
    whole = isinstance(number, float) and abs(number) < _EXPONENT_FROM and number.is_integer()
    return int(number) if whole else number


def _string(token: str) -> str:
    if token[0] == "'":  # JSON has no single quotes
        inner = re.sub(r"\\(.)|\"", _requote, token[1:-1])
        token = f'"{inner}"'
    try:
        return str(json.loads(token))
    except ValueError:
        raise ValueError(f"not a string: {token}") from None


def _requote(match: re.Match[str]) -> str:
    return "'" if match[1] == "'" else match[0] if match[1] else '\\"'


# Finds brackets and semicolons, with comments and strings skipped as a whole. A string ends on its
# line, as in JavaScript; an open one is an error that ``parse`` reports.
_LEXEME: Final = re.compile(
    r"""(?P<comment>//[^\n]*|^[^\S\n]*\#[^\n]*|/\*.*?\*/)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<broken>["'])
      | (?P<open>/\*)
      | (?P<bracket>[][(){}])
      | (?P<end>;)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


def _without_comments(text: str) -> str:
    """Return ``text`` with a blank for each comment."""
    return _LEXEME.sub(lambda found: " " if found["comment"] else found[0], text)


def is_complete(text: str) -> bool:
    """Tell whether ``text`` has no open bracket and no open comment, so that Enter ends it."""
    depth = 0
    for found in _LEXEME.finditer(text):
        if found["open"]:
            return False
        if found["broken"]:
            return True
        if found["bracket"]:
            depth += 1 if found[0] in "([{" else -1
    return depth <= 0


def is_in_string(text: str) -> bool:
    """Tell whether ``text`` ends inside a string that is still open."""
    return any(found["broken"] for found in _LEXEME.finditer(text))


def split_expressions(text: str) -> list[str]:
    """Split at semicolons outside of brackets, strings and comments; leave out blank parts."""
    parts, start, depth = [], 0, 0
    for found in _LEXEME.finditer(text):
        if found["bracket"]:
            depth += 1 if found[0] in "([{" else -1
        elif found["end"] and depth <= 0:
            parts.append(text[start : found.start()])
            start = found.end()
    return [part for part in (*parts, text[start:]) if _without_comments(part).strip()]


def pick(result: Any, path: tuple[str | int, ...]) -> Any:
    """Return the member of ``result`` at ``path``. Raises ValueError if there is none."""
    for step in path:
        try:
            result = result[step]
        except (KeyError, IndexError, TypeError):
            raise ValueError(f"the result has no member {step!r}") from None
    return result
