"""Check the docstrings of the public names: Google-style sections for all that a reader needs.

Ruff's pydocstyle rules check the form of a docstring. This checks what they leave out, for every
function, class and method that is public (in the ``__all__`` of a public module): it has a
docstring, each parameter stands under ``Args:``, a result under ``Returns:`` or ``Yields:``. The
summary line does not open with a free relative clause. ``lint`` calls this; it prints what is
missing and exits with 1.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

PUBLIC = (
    *("npipe", "npipe.aio", "npipe.address", "npipe.errors", "npipe.security", "npipe.testing"),
    *("npipe.rpc", "npipe.rpc.aio", "npipe.recording"),
    *("npipe.rpc.prometheus",),
)
RIDDLE = re.compile(r"(Who|What|Whoever|Whatever|Nobody|Somebody|Everybody)\b", re.IGNORECASE)
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
    returned = str(signature.return_annotation)
    if name.endswith(".__init__") or returned in NO_RESULT or returned.startswith("<class"):
        return
    if not re.search(r"^(Returns|Yields):", text, re.MULTILINE):
        yield f"{name} has no Returns:"


def has_arg(text: str, name: str) -> bool:
    """Tell whether a docstring describes the parameter ``name``."""
    return bool(
        re.search(rf"^\s+\**{re.escape(name)}(, \**\w+)*( \([^)]*\))?:", text, re.MULTILINE)
    )


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
    print("\n".join(lines) or "the public docstrings are complete")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
