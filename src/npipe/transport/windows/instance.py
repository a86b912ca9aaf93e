"""One instance of a pipe that waits for its client (Microsoft page "ConnectNamedPipe")."""

from __future__ import annotations

from typing import Final

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
    """A free instance. A client may connect as soon as it exists; ``arm`` asks to hear of it."""

    __slots__ = ("_api", "_operation", "event", "handle", "taken")

    def __init__(self, api: Kernel32, handle: int, event: int) -> None:
        """Own ``handle`` and ``event`` until ``close``, or until a connection takes them over."""
        self._api = api
        self.handle = handle
        self.event = event
        self._operation = Operation(api, handle, event)
        self.taken = False  # a client is connected

    def arm(self) -> None:
        """Have the event set when a client comes; or find that one has come: ``taken``.

        Raises:
            OSError: ConnectNamedPipe fails.
        """
        operation = self._operation
        if operation.state is State.BEGUN:  # Ctrl-C came before the code of the call was seen
            operation.cancel()
        while operation.state is State.IDLE and not self.taken:
            code = operation.begin(self._api.ConnectNamedPipe)
            if code != ERROR_IO_PENDING:
                self._settle(code)

    def look(self) -> None:
        """See whether a client has come: it is ``taken`` then. If one came and went, arm again."""
        operation = self._operation
        if operation.state is State.PENDING and operation.ended():
            code, _ = operation.end()
            # Aborted: the thread that armed it has ended, and Windows ends its operations.
            if code != ERROR_OPERATION_ABORTED:
                self._settle(code)

    def settle_event(self) -> None:
        """Reset the event if it was set although the operation goes on.

        The kernel sets it after it has written the status, in the thread that began the
        operation: the event of an earlier operation may come in after the next was begun. Left
        alone it would end every wait at once. The status is looked at after this, since an end
        that comes in between sets the event again.
        """
        if not self._operation.ended():
            self._api.ResetEvent(self.event)

    def _settle(self, code: int) -> None:
        """Decide by the result of ConnectNamedPipe whether a client is here; else free this.

        A client that came and went is not served, unless it left something to read.
        """
        if code not in _CAME and code not in _CAME_AND_WENT:
            raise error(code)
        gone, left = self._api.PeekNamedPipe(self.handle)
        if left or (code in _CAME and not gone):
            self.taken = True
        else:
            self._api.DisconnectNamedPipe(self.handle)

    def close(self) -> None:
        """Cancel, wait for the end, and only then give the memory and the handles up."""
        self._operation.cancel()
        self._api.CloseHandle(self.handle)
        self._api.CloseHandle(self.event)
