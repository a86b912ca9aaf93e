"""The command line: ``npipe serve | call | attach | ...``. One file per command.

This file imports only the standard library, so that a missing extra is reported in one line, not in
a traceback. ``app.py`` has the list of commands, ``common.py`` their common functions.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script ``npipe`` and ``python -m npipe`` call it."""
    try:
        import click  # noqa: F401
        import msgspec  # noqa: F401
    except ModuleNotFoundError as missing:
        if missing.name not in ("click", "msgspec"):
            raise
        if sys.argv[1:] == ["--version"]:
            from npipe.cli.versions import report

            print(report())
            return
        sys.exit(f'npipe: the command line needs {missing.name}: pip install "npipe[cli]"')
    from npipe.cli.app import cli
    from npipe.cli.output import prepare

    prepare()
    # On Windows click would expand arguments as file patterns, and testing whether the name of a
    # pipe exists connects to it: the server would get a client that disconnects at once.
    cli(prog_name="npipe", windows_expand_args=False)
