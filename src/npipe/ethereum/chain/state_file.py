"""The chain in a file: saved whole or not at all, and believed only as far as it fits together.

The format is MessagePack of ``SavedChain``. It holds no keys: accounts come from the mnemonic.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec

__all__ = ["SavedChain", "load", "save"]

_FORMAT = "npipe chain 1"


class SavedBlock(msgspec.Struct, array_like=True):
    """A block, its receipts, and the contracts it created."""

    block: bytes
    receipts: list[bytes]
    created: list[bytes | None]


class SavedChain(msgspec.Struct, kw_only=True):
    """What a chain is made of again. ``nodes`` is the state's key-value store."""

    format: str = _FORMAT
    chain_id: int
    offset: int
    blocks: list[SavedBlock]
    nodes: dict[bytes, bytes]
    pool: list[bytes]
    altered: dict[bytes, bytes] = {}  # state roots, where they are not those of the headers
    genesis_file: bytes = b""  # what the forks of a chain that was imported come from


def load(path: str | os.PathLike[str]) -> SavedChain | None:
    """Read a saved chain; None where there is no file yet.

    Raises ValueError for a file that is none of ours, OSError where it cannot be read. A directory
    that does not exist is a FileNotFoundError now, not when the work is done.
    """
    file = Path(path)
    if not file.parent.is_dir():
        raise FileNotFoundError(f"there is no directory {file.parent} to keep the state in")
    try:
        octets = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        saved = msgspec.msgpack.decode(octets, type=SavedChain)
    except msgspec.DecodeError as error:
        raise ValueError(f"{file} is not a saved chain: {error}") from None
    if saved.format != _FORMAT or not saved.blocks:
        raise ValueError(f"{file} is not a saved chain that this version can read")
    return saved


def save(path: str | os.PathLike[str], saved: SavedChain) -> None:
    """Write a chain, readable by its owner only. Whatever fails, the old file stays as it was.

    Raises OSError, which says so.
    """
    file = Path(path)
    try:
        _replace(file, saved)
    except OSError as error:
        why = f"the chain could not be saved, and {file} is as it was: {error.strerror}"
        raise OSError(error.errno, why) from error
    _sync_directory(file.parent)


def _replace(file: Path, saved: SavedChain) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.msgpack.encode(saved))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _sync_directory(directory: Path) -> None:
    """Make the new name last, where a directory can be opened for that (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
