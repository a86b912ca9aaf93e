"""``npipe serve --samba``: the listener for the clients of this computer's Samba."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from npipe.cli.common import failures
from npipe.transport.base import Connection, Listener

__all__ = ["behind_samba"]


@contextmanager
def behind_samba(
    name: str | None, directory: str | None, access: str | int
) -> Iterator[Listener[Connection] | None]:
    """Listen behind Samba; return None if ``name`` is None."""
    if name is None:
        yield None
    elif sys.platform == "win32":
        raise click.UsageError("--samba is not available on Windows: serve the pipe itself")
    elif isinstance(access, int):
        raise click.UsageError("--samba needs --access owner, group or everyone")
    else:
        from npipe.transport.smb.samba import DIRECTORY, SambaListener

        where = directory or DIRECTORY
        with failures(f"{where}/{name}", listening=True):
            listener = SambaListener(name, access=access, directory=where)
        with listener:
            yield listener
