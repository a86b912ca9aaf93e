"""Versions that ``npipe --version`` prints, for the start of a bug report."""

from __future__ import annotations

import platform
import re
import sysconfig
from collections.abc import Iterator
from importlib import machinery, metadata
from pathlib import Path

import npipe

__all__ = ["dependencies", "is_compiled", "report"]


def report() -> str:
    """Return the versions of npipe, of Python, of the system and of the optional dependencies."""
    build = "compiled" if is_compiled() else "pure Python"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        python += " (free-threaded)"
    installed = ", ".join(f"{name} {version}" for name, version in dependencies())
    return (
        f"npipe {npipe.__version__} ({build})\n"
        f"{python} on {platform.platform()}, {platform.machine()}\n"
        f"with {installed or 'no optional dependency'}"
    )


def is_compiled() -> bool:
    """Tell whether this npipe is the build with compiled modules."""
    # One of them: see tools/compile_hook.py. Looked for as a file, since an import of npipe.rpc
    # fails without its extra.
    module = Path(npipe.__file__).parent / "rpc" / "session" / "session"
    return any(module.with_suffix(suffix).is_file() for suffix in machinery.EXTENSION_SUFFIXES)


def dependencies() -> Iterator[tuple[str, str]]:
    """Yield name and version of each installed package that an extra of npipe names."""
    try:
        requirements = metadata.requires("npipe") or []
    except metadata.PackageNotFoundError:  # the sources alone are on the path
        return
    names = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}
    for name in sorted(names - {"npipe"}):
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
