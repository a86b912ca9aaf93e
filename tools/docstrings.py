"""Check the docstrings of the public names: Google-style sections for all that a reader needs.

Ruff's pydocstyle rules check the form of a docstring. This checks what they leave out, for every
function, class and method that is public (in the ``__all__`` of a public module): it has a
docstring, each parameter stands under ``Args:``, a result under ``Returns:`` or ``Yields:``, and
the description of a time or a size names its unit. The summary line does not open with a free
relative clause. The docstrings of the chain's methods, which ``rpc.discover`` shows to users, say
what the method returns and name its specification. ``lint`` calls this; it prints what is missing
and exits with 1.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PUBLIC = (
    *("npipe", "npipe.aio", "npipe.address", "npipe.errors", "npipe.security", "npipe.testing"),
    *("npipe.rpc", "npipe.rpc.aio", "npipe.recording"),
    *("npipe.rpc.prometheus", "npipe.options"),
)
RIDDLE = re.compile(r"(Who|What|Whoever|Whatever|Nobody|Somebody|Everybody)\b", re.IGNORECASE)
TIME = re.compile(
    r"(\w+_)?(timeout|seconds|time_limit|interval|deadline|keepalive|reconnect|drain|silence)"
)
SIZE = re.compile(r"(?!time_)(\w+_)?(bytes|size|limit)")
#: Words of a description that make a unit clear, or name the place that does.
TIME_UNITS = re.compile(r"second|time\.monotonic|as for|see ", re.IGNORECASE)
SIZE_UNITS = re.compile(r"byte|number|items|count|as for|see ", re.IGNORECASE)
CHAIN_METHODS = Path(__file__).resolve().parent.parent / "src" / "npipe" / "ethereum" / "api"
SHORTEST = 20  # characters of a method's docstring
#: The specification of a chain's method.
SOURCE = re.compile(r"EIP-\d+|Source: \w")
#: Results of a chain's method that need no words.
NOTHING = re.compile(r"None|bool|.*\[(None|bool|.*Iterator.*)\]")
NO_RESULT = {"None", "NoReturn", "Never", "Self", inspect.Signature.empty}


def members(name: str, found: Any) -> Iterator[tuple[str, Any]]:
    """Yield a public object and, of a class, its public methods and properties."""
    yield name, found
    if not inspect.isclass(found):
        return
    for key, value in vars(found).items():
        if key == "__init__" or (not key.startswith("_") and not inspect.isclass(value)):
            yield f"{name}.{key}", inspect.unwrap(value) if callable(value) else value


def findings(name: str, found: Any, owner_text: str = "") -> Iterator[str]:
    """Yield what the docstring of one object lacks."""
    if isinstance(found, property):
        found = found.fget
        if not inspect.getdoc(found):
            yield f"{name} has no docstring"
        return
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return
    text = inspect.getdoc(found) or ""
    if name.endswith(".__init__"):
        text = f"{owner_text}\n{text if text != object.__init__.__doc__ else ''}"
    if not text.strip():
        yield f"{name} has no docstring"
        return
    if RIDDLE.match(text):
        yield f"{name} opens with a free relative clause: {text.splitlines()[0]}"
    if inspect.isclass(found):
        return
    signature = inspect.signature(found)
    absent = [p for p in signature.parameters if p not in ("self", "cls") and not has_arg(text, p)]
    if absent:
        yield f"{name} does not describe under Args: {', '.join(absent)}"
    yield from units(name, text, signature)
    returned = str(signature.return_annotation)
    if name.endswith(".__init__") or returned in NO_RESULT or returned.startswith("<class"):
        return
    if not re.search(r"^(Returns|Yields):", text, re.MULTILINE):
        yield f"{name} has no Returns:"


def units(name: str, text: str, signature: inspect.Signature) -> Iterator[str]:
    """Yield each parameter that is a time or a size and whose description names no unit."""
    for parameter in signature.parameters:
        for kind, unit in ((TIME, TIME_UNITS), (SIZE, SIZE_UNITS)):
            described = description(text, parameter)
            if kind.fullmatch(parameter) and described and not unit.search(described):
                yield f"{name} does not name the unit of {parameter}"


def has_arg(text: str, name: str) -> bool:
    """Tell whether a docstring describes the parameter ``name``."""
    return bool(
        re.search(rf"^\s+\**{re.escape(name)}(, \**\w+)*( \([^)]*\))?:", text, re.MULTILINE)
    )


def description(text: str, name: str) -> str:
    """Return the description of a parameter under ``Args:``."""
    start = re.search(rf"^    \**{re.escape(name)}(, \**\w+)*( \([^)]*\))?:", text, re.MULTILINE)
    if start is None:
        return ""
    end = re.search(r"^(    )?\S", text[start.end() :], re.MULTILINE)
    return text[start.end() : start.end() + end.start() if end else None]


def chain_findings() -> Iterator[str]:
    """Yield each method of the chain whose docstring does not say what it returns.

    The sources are parsed, not imported, so that the check needs no extra.
    """
    for path in sorted(CHAIN_METHODS.glob("*.py")):
        for part in ast.parse(path.read_text(encoding="utf-8")).body:
            public = isinstance(part, ast.ClassDef) and not part.name.startswith("_")
            methods = part.body if isinstance(part, ast.ClassDef) and public else []
            for found in methods:
                if not isinstance(found, ast.FunctionDef) or found.name.startswith("_"):
                    continue
                text = ast.get_docstring(found) or ""
                returned = ast.unparse(found.returns) if found.returns else "None"
                where = f"npipe.ethereum.api.{path.stem}.{found.name}"
                if len(text) < SHORTEST or not text.split()[0][0].isupper():
                    yield f"{where} has no docstring for users"
                elif not (NOTHING.fullmatch(returned) or re.search(r"[Rr]eturn|Push", text)):
                    yield f"{where} does not say what it returns ({returned})"
                elif not SOURCE.search(text):
                    yield f"{where} names no source: an EIP, or a documentation"


def own(found: Any) -> bool:
    """Tell whether an object is defined in this package."""
    return str(getattr(found, "__module__", "npipe")).startswith("npipe")


def main() -> int:
    """Print what is missing; return the exit status."""
    lines: dict[str, None] = {}
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            found = getattr(module, name)
            if not own(found):
                continue
            text = inspect.getdoc(found) or ""
            for member, value in members(name, found):
                where = f"{getattr(found, '__module__', module_name)}.{member}"
                lines.update(dict.fromkeys(findings(where, value, text)))
    lines.update(dict.fromkeys(chain_findings()))
    print("\n".join(lines) or "the public docstrings are complete")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
