"""The command line: ``npipe serve | call | attach | ...``. One file per command.

This file imports nothing but Python, so that a missing extra is reported in one line instead of in
a traceback. ``app.py`` holds the list of commands, ``common.py`` what they share.
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
        sys.exit(f'npipe: the command line needs {missing.name}: pip install "npipe[cli]"')
    from npipe.cli.app import cli
    from npipe.cli.output import prepare

    prepare()
    # On Windows click would look for files that match each argument, and to look at a pipe's name
    # is to connect to it: the server would see a client that comes and goes.
    cli(prog_name="npipe", windows_expand_args=False)
