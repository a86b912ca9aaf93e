"""The command line: ``npipe serve | call | attach | ...``. One file per command.

This file imports only the standard library, so that a missing extra is reported in one line, not in
a traceback. ``app.py`` has the list of commands, ``common.py`` their common functions.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script ``npipe`` and ``python -m npipe`` call it."""
    # Found, not imported: `npipe --help` uses no msgspec.
    missing = [name for name in ("click", "msgspec") if find_spec(name) is None]
    if missing and sys.argv[1:] == ["--version"]:
        from npipe.cli.versions import report

        print(report())
        return
    if missing:
        sys.exit(f'npipe: the command line needs {missing[0]}: pip install "npipe[cli]"')
    from npipe.cli.app import cli
    from npipe.cli.output import prepare

    prepare()
    # On Windows click would expand arguments as file patterns, and testing whether the name of a
    # pipe exists connects to it: the server would get a client that disconnects at once.
    cli(prog_name="npipe", windows_expand_args=False)
