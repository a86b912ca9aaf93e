"""Creation of the instances of a Windows pipe, and the claim of its name.

The listeners (``listener.py``, ``aio/windows.py``) use it. Microsoft pages: CreateNamedPipe, "Named
Pipe Security and Access Rights", "Mandatory Integrity Control".
"""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator
from typing import Final

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import descriptor_for
from npipe.transport.checks import require_mode
from npipe.transport.windows.handles import Mode, Unknown, look, require_pipe
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.kernel32.constants import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    PIPE_ACCESS_DUPLEX,
    PIPE_ACCESS_INBOUND,
    PIPE_ACCESS_OUTBOUND,
    PIPE_READMODE_MESSAGE,
    PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_BYTE,
    PIPE_TYPE_MESSAGE,
    PIPE_UNLIMITED_INSTANCES,
)
from npipe.transport.windows.winerror import ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY, error

__all__ = ["NameHeld", "PipeMaker", "claim_pauses", "require_local_pipe"]

_SERVER_ACCESS: Final = {
    "rw": PIPE_ACCESS_DUPLEX,
    "r": PIPE_ACCESS_INBOUND,
    "w": PIPE_ACCESS_OUTBOUND,
}
_LARGEST_BUFFER: Final = 0x7FFFFFFF


class NameHeld(OSError):
    """The server of a name has ended, but clients still have handles of its pipe (EADDRINUSE).

    "An instance of a named pipe is always deleted when the last handle to the instance is closed"
    (Microsoft page "CreateNamedPipe"), so a client's handle keeps the name in use.
    """

    def __init__(self, path: str) -> None:
        text = "the last server has ended, but clients still hold its pipe: close them"
        super().__init__(errno.EADDRINUSE, text, path)


class PipeMaker:
    """Factory of the instances of one pipe; the first instance claims the name for this server.

    It is thread-safe. Call ``close`` when no more instances are needed. The caller owns each
    instance.
    """

    def __init__(
        self,
        address: Address,
        *,
        access: str | int = "owner",
        message_mode: bool = False,
        reject_remote: bool = True,
        buffer_size: int = 65536,
        mode: Mode = "rw",
        api: Kernel32 | None = None,
    ) -> None:
        """Check the options, without creating an instance.

        Args:
            address: Address of a pipe of this computer.
            access: The users that may connect; see ``npipe.listen``.
            message_mode: Whether to create a pipe of the message type.
            reject_remote: Whether to refuse clients of other computers.
            buffer_size: Size of the kernel's buffer in bytes.
            mode: "r" if the server only reads, "w" if it only writes, else "rw".
            api: The bindings; None loads those of this process.

        Raises:
            ValueError: An option or the address is bad.
            OSError: The user of this process cannot be determined.
        """
        require_local_pipe(address)
        require_mode(mode)
        if not isinstance(buffer_size, int) or not 0 <= buffer_size <= _LARGEST_BUFFER:
            raise ValueError(f"buffer_size={buffer_size!r}: give a number of bytes, 0 to 2 GiB")
        self.address = address
        self.message_mode = message_mode
        self.mode = mode
        self.api: Kernel32 = load() if api is None else api
        kind = PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE if message_mode else PIPE_TYPE_BYTE
        self._mode = kind | (PIPE_REJECT_REMOTE_CLIENTS if reject_remote else 0)
        self._buffer_size = buffer_size
        self._lock = threading.Lock()
        self._claimed = False
        code, self._user, group = self.api.process_sids()
        if code:
            raise error(code)
        sddl = descriptor_for(
            access,
            self._user,
            group,
            elevated=self.api.is_elevated(),
            administrator=self.api.is_administrator(),
        )
        # Such a descriptor admits only this user, and principals that can act as any user (SYSTEM;
        # the Administrators, if this program is elevated): a connected client is one of them.
        self.proven_sid: str | None = self._user if access == "owner" and reject_remote else None
        code, self._descriptor = self.api.descriptor(sddl)
        if code:
            raise ValueError(f"access={access!r} is not a valid security descriptor") from error(
                code
            )

    def create(self) -> int:
        """Create an instance, to which clients can connect at once.

        Returns:
            The handle, which the caller closes.

        Raises:
            NameHeld: Clients of an earlier server still hold the name; another attempt may
                succeed.
            OSError: Another server has the name (EADDRINUSE).
            PermissionError: The descriptor denies access to the server itself.
            ClosedError: This maker is closed. Without its descriptor an instance would get the
                default one, which lets everyone read (Microsoft page "CreateNamedPipe").
        """
        with self._lock:
            if not self._descriptor:
                raise ClosedError("listener")
            if not self._claimed:
                # Windows would refuse below with an ambiguous error code; Wine would not refuse.
                self._require_free()
            first = 0 if self._claimed else FILE_FLAG_FIRST_PIPE_INSTANCE
            code, handle = self.api.CreateNamedPipe(
                self.address.path,
                _SERVER_ACCESS[self.mode] | FILE_FLAG_OVERLAPPED | first,
                self._mode,
                instances=PIPE_UNLIMITED_INSTANCES,
                buffer_size=self._buffer_size,
                descriptor=self._descriptor,
            )
            if not code:
                self._claimed = True
                return handle
            if first and code in (ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY):
                self._require_free()
            if code == ERROR_ACCESS_DENIED and not first:
                raise PermissionError(
                    errno.EACCES,
                    f"this access forbids the server itself to serve: add (A;;FA;;;{self._user})",
                    self.address.path,
                )
            raise error(code, self.address.path)

    def _require_free(self) -> None:
        """Raise OSError (EADDRINUSE) if the name is taken; do nothing if that is unknown."""
        # WaitNamedPipe fails in some containers. There CreateNamedPipe decides.
        with contextlib.suppress(Unknown):
            state = look(self.address, self.api)
            if state == "held":
                raise NameHeld(self.address.path)
            if state == "served":
                # Finding out which process serves it would need a connection, so an instance.
                raise OSError(errno.EADDRINUSE, "this pipe is served already", self.address.path)

    def close(self) -> None:
        """Free the security descriptor. A second call does nothing."""
        with self._lock:
            if self._descriptor:
                self.api.LocalFree(self._descriptor)
                self._descriptor = 0


def claim_pauses() -> Iterator[float]:
    """Yield the pauses between attempts to claim a name that clients hold.

    The pauses last about one second in total, which is enough for clients that close their handle
    when they read the end of the stream.

    Yields:
        Seconds to wait before the next attempt.
    """
    pause = 0.005
    for _ in range(8):
        yield pause
        pause *= 2


def require_local_pipe(address: Address) -> None:
    """Check that CreateNamedPipe can serve the address.

    Raises:
        ValueError: The address is a socket or a pipe of another computer.
    """
    require_pipe(address)
    if address.host is not None:
        raise ValueError(
            f"cannot listen on {address}: the pipe of another computer is served there; "
            rf"here, listen on \\.\pipe\name with reject_remote=False"
        )
