"""Pipe instance that waits for a client (Microsoft page "ConnectNamedPipe")."""

from __future__ import annotations

from typing import Final

from npipe.transport.windows.handles import peek
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.overlapped import Operation, State
from npipe.transport.windows.winerror import (
    ERROR_BROKEN_PIPE,
    ERROR_IO_PENDING,
    ERROR_NETNAME_DELETED,
    ERROR_NO_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_CONNECTED,
    ERROR_PIPE_NOT_CONNECTED,
    error,
)

__all__ = ["Instance"]

_CAME: Final = (0, ERROR_PIPE_CONNECTED)
_CAME_AND_WENT: Final = (
    ERROR_NO_DATA,
    ERROR_BROKEN_PIPE,
    ERROR_PIPE_NOT_CONNECTED,
    ERROR_NETNAME_DELETED,
)


class Instance:
    """Pipe instance without a client.

    A client may connect as soon as the instance exists; ``arm`` requests the notification of it.
    """

    __slots__ = ("_api", "_operation", "event", "handle", "taken")

    def __init__(self, api: Kernel32, handle: int, event: int) -> None:
        """Take ownership of ``handle`` and ``event``; a connection may take them over later."""
        self._api = api
        self.handle: int = handle
        self.event: int = event
        self._operation = Operation(api, handle, event)
        self.taken: bool = False  # a client is connected

    def arm(self) -> None:
        """Begin to wait for a client: the event is set when one connects.

        If a client has connected already, ``taken`` becomes True at once.

        Raises:
            OSError: ConnectNamedPipe fails.
        """
        operation = self._operation
        if operation.state is State.BEGUN:  # Ctrl-C came before the code of the call was stored
            operation.cancel()
        while operation.state is State.IDLE and not self.taken:
            code = operation.begin(self._api.ConnectNamedPipe)
            if code != ERROR_IO_PENDING:
                self._settle(code)

    def look(self) -> None:
        """Set ``taken`` if a client has connected.

        If the client has disconnected again, the instance is free and has to be armed again.
        """
        operation = self._operation
        if operation.state is State.PENDING and operation.ended():
            code, _ = operation.end()
            # Windows cancels the operations of a thread that ends (Microsoft page "ExitThread").
            if code != ERROR_OPERATION_ABORTED:
                self._settle(code)

    def settle_event(self) -> None:
        """Reset the event if it was set although the operation has not ended.

        The kernel sets the event after it has written the status, in the thread that began the
        operation, so the event of an earlier operation may be set after the next has begun. If it
        stayed set, every wait would end at once. The caller checks the status after this call,
        because an operation that ends in between sets the event again.
        """
        if not self._operation.ended():
            self._api.ResetEvent(self.event)

    def _settle(self, code: int) -> None:
        """Set ``taken`` or free the instance, by the result of ConnectNamedPipe.

        A client that has disconnected already is not served, unless it left unread bytes.
        """
        if code not in _CAME and code not in _CAME_AND_WENT:
            raise error(code)
        gone, left = peek(self.handle, self._api)
        if left or (code in _CAME and not gone):
            self.taken = True
        else:
            self._api.DisconnectNamedPipe(self.handle)

    def close(self) -> None:
        """Cancel the operation, wait for its end, and then release memory and handles."""
        self._operation.cancel()
        self._api.CloseHandle(self.handle)
        self._api.CloseHandle(self.event)
