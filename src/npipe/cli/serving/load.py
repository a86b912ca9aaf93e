"""Loads the objects of ``npipe serve --api package.module:object`` into an API."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from npipe import rpc
from npipe.cli.common import LoadError

__all__ = ["load", "own_api", "split"]


def own_api(texts: Sequence[str], chosen: Sequence[str] | None) -> rpc.API:
    """Return an API of the objects that ``texts`` name, with the namespaces ``chosen`` only.

    An rpc.API is served as it is, alone; any other object is registered under its namespace.
    """
    wanted = {split(text)[0]: text for text in texts}
    missing = sorted(set(chosen or ()) - {*wanted, "rpc"})
    if missing:
        raise LoadError(f"no such module: {', '.join(missing)}; choose from {', '.join(wanted)}")
    api = rpc.API()
    for namespace, text in wanted.items():
        if chosen is not None and namespace not in chosen:
            continue
        found = load(*split(text)[1:])
        if isinstance(found, rpc.API):
            if len(texts) > 1 or chosen is not None:
                raise LoadError(f"{text} is an rpc.API: use it without another --api and --modules")
            return found
        try:
            api.register(namespace, found)
        except (TypeError, ValueError) as error:
            raise LoadError(f"cannot serve {text}: {error}") from error
    return api


def split(text: str) -> tuple[str, str, str]:
    """Return namespace, module and attribute path of ``[NAMESPACE=]package.module[:object]``.

    The default namespace is the last name: ``shop.api:orders`` is served as ``orders``.
    """
    namespace, equals, target = text.rpartition("=")
    module, _, path = target.partition(":")
    if not module or (equals and not namespace):
        raise LoadError(f"not of the form [NAMESPACE=]package.module[:object]: {text}")
    return namespace or (path or module).rpartition(".")[2], module, path


def load(module: str, path: str) -> Any:
    """Import ``module`` and return the object at ``path``. A class is called without arguments.

    The current directory is importable, as with ``python -m``.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for name in filter(None, path.split(".")):
            found = getattr(found, name)
        return found() if isinstance(found, type) else found
    except Exception as error:
        target = f"{module}:{path}" if path else module
        raise LoadError(f"cannot load {target}: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    """Return the error, with the line of the user's code that raised it, if there is one."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = last.filename in (__file__, importlib.__file__) or last.filename.startswith("<frozen")
    where = "" if ours else f" ({last.filename}, line {last.lineno})"
    return f"{type(error).__name__}: {error}{where}"
