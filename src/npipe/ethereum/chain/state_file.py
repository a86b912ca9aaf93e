"""The state file: replaced atomically, locked by one server, verified when it is read.

The file has a line with the name of the format, the SHA-256 of the rest, and the MessagePack of
``SavedChain``. It holds no keys: accounts come from the mnemonic. While a ``StateFile`` is open, a
lock on a hidden file beside it excludes other servers. Symbolic links are resolved at the start, so
that the link stays and its target is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["SavedChain", "StateFile"]

_NAME = b"npipe chain "
_HEAD = _NAME + b"2\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
# What a lock raises if another process has it; Wine's msvcrt sets no error number.
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK} | ({0} if sys.platform == "win32" else set())


class SavedBlock(msgspec.Struct, array_like=True):
    """A block, its receipts, and the contracts it created."""

    block: bytes
    receipts: list[bytes]
    created: list[bytes | None]


class SavedChain(msgspec.Struct, kw_only=True):
    """The contents of a state file. ``nodes`` is the state's key-value store."""

    chain_id: int
    offset: int
    blocks: list[SavedBlock]
    nodes: dict[bytes, bytes]
    pool: list[bytes]
    altered: dict[bytes, bytes] = {}  # state roots that differ from those of the headers
    genesis_file: bytes = b""  # of an imported chain


class StateFile:
    """The state file of one chain, from the start of a server to its end."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Lock a file, which need not exist yet.

        Args:
            path: The file, or a symbolic link to it.

        Raises:
            OSError: Another server uses it, or it could not be written at the end. This is checked
                now, before there is anything to lose.
        """
        self.path: Path = Path(os.path.realpath(path))
        self._check_target()
        self._lock_path = self.path.with_name(f".{self.path.name}.lock")
        self._lock = self._locked()
        try:
            with self._told(), tempfile.TemporaryFile(dir=self.path.parent):
                pass
        except OSError:
            self.close()
            raise

    def load(self) -> SavedChain | None:
        """Read the chain; return None if there is no file yet.

        Raises:
            ValueError: The file is no state file, or it is damaged.
            OSError: It cannot be read.
        """
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return None
        if not octets.startswith(_NAME):
            raise ValueError(f"{self.path} is not a saved chain")
        if not octets.startswith(_HEAD):
            raise ValueError(f"{self.path} is not a saved chain that this version can read")
        start = len(_HEAD) + _DIGEST_BYTES
        body = memoryview(octets)[start:]
        if hashlib.sha256(body).digest() != octets[len(_HEAD) : start]:
            raise ValueError(
                f"{self.path} is damaged: it was cut off or changed after it was saved"
            )
        try:
            saved = msgspec.msgpack.decode(body, type=SavedChain)
        except msgspec.DecodeError as error:
            raise ValueError(f"{self.path} is not a saved chain: {error}") from None
        if not saved.blocks:
            raise ValueError(f"{self.path} is not a saved chain: it has no block")
        return saved

    def save(self, saved: SavedChain) -> None:
        """Replace the file; only its owner can read it. If that fails, the old file stays.

        Raises:
            OSError: The chain could not be saved there. The message names the temporary file to
                which it was saved instead, unless that failed too. Or it was saved, and the
                system could not flush the directory to the disk.
        """
        body = msgspec.msgpack.encode(saved)
        pieces = (_HEAD, hashlib.sha256(body).digest(), body)
        try:
            written = _write(self.path.parent, f".{self.path.name}.", pieces)
            try:
                os.replace(written, self.path)
            except OSError:
                os.unlink(written)
                raise
        except OSError as error:
            why = f"the chain could not be saved, and {self.path} is unchanged: {error.strerror}"
            with contextlib.suppress(OSError):
                elsewhere = _write(tempfile.gettempdir(), f"{self.path.name}.", pieces)
                why += f". It was saved as {elsewhere} instead"
            raise OSError(error.errno, why) from error
        try:
            _sync_directory(self.path.parent)
        except OSError as error:
            why = f"the chain was saved as {self.path}, but a power failure may undo that"
            raise OSError(error.errno, f"{why}: {error.strerror}") from error

    def close(self) -> None:
        """Unlock the file. Idempotent."""
        lock, self._lock = self._lock, -1
        if lock < 0:
            return
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(lock)
        with contextlib.suppress(OSError):
            os.unlink(self._lock_path)
        if sys.platform != "win32":
            os.close(lock)

    def _check_target(self) -> None:
        directory = self.path.parent
        with self._told():
            found = directory.is_dir()
        if not found:
            raise FileNotFoundError(f"the directory {directory} of the state file does not exist")
        with self._told(), contextlib.suppress(FileNotFoundError):
            mode = os.stat(self.path).st_mode
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "not a regular file")
            if not os.access(self.path, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _locked(self) -> int:
        """Return the descriptor of the lock file, locked; it is the one that the path names."""
        while True:
            with self._told():
                descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(descriptor)
                if _is_at(descriptor, self._lock_path):
                    return descriptor
            except OSError as error:
                os.close(descriptor)
                if error.errno in _HELD:
                    text = f"another server uses {self.path}: stop that server, or use another file"
                    raise BlockingIOError(errno.EAGAIN, text) from None
                raise
            os.close(descriptor)  # the process that made it removed it before it was locked

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Add the name of the file to the errors raised in the block."""
        try:
            yield
        except OSError as error:
            text = f"the state cannot be kept in {self.path}: {error.strerror}"
            raise OSError(error.errno, text) from error


def _lock(descriptor: int) -> None:
    """Lock an open file for this process. Raises OSError if another process has the lock."""
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _write(directory: str | Path, prefix: str, pieces: Iterable[bytes]) -> str:
    """Write a new file, flush it to the disk, and return its path."""
    descriptor, path = tempfile.mkstemp(dir=directory, prefix=prefix)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise
    return path


def _sync_directory(directory: Path) -> None:
    """Flush the directory entry to the disk, where the system can (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
