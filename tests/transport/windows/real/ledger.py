"""The real calls with an account of the handles, and what the tests on a real kernel share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.winerror import ERROR_IO_PENDING

Pair = tuple[WindowsConnection, WindowsConnection]


Spawn = Callable[..., Future[Any]]


class Ledger(Kernel32):
    """The real calls, an account of the handles that they open, and word of calls that wait."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.opened = 0
        self._ledger_lock = threading.Lock()
        self._waiting = dict[str, threading.Semaphore]()
        for call in ("ReadFile", "WriteFile", "FlushFileBuffers", "WaitForMultipleObjects"):
            self._waiting[call] = threading.Semaphore(0)

    def waits_in(self, call: str) -> None:
        """Return when one more such call has begun to wait."""
        assert self._waiting[call].acquire(timeout=60)

    def ReadFile(self, *args: Any) -> int:  # noqa: N802
        return self._pending("ReadFile", super().ReadFile(*args))

    def WriteFile(self, *args: Any) -> int:  # noqa: N802
        return self._pending("WriteFile", super().WriteFile(*args))

    def _pending(self, call: str, code: int) -> int:
        if code == ERROR_IO_PENDING:
            self._waiting[call].release()
        return code

    def FlushFileBuffers(self, handle: int) -> int:  # noqa: N802
        self._waiting["FlushFileBuffers"].release()
        return super().FlushFileBuffers(handle)

    def WaitForMultipleObjects(self, handles: list[int], milliseconds: int) -> int:  # noqa: N802
        self._waiting["WaitForMultipleObjects"].release()
        return super().WaitForMultipleObjects(handles, milliseconds)

    def _note(self, result: tuple[int, int]) -> tuple[int, int]:
        with self._ledger_lock:
            if not result[0]:
                assert result[1] not in self.open
                self.open.add(result[1])
                self.opened += 1
        return result

    def CreateNamedPipe(self, *args: Any, **options: Any) -> tuple[int, int]:  # noqa: N802
        return self._note(super().CreateNamedPipe(*args, **options))

    def CreateFile(self, *args: Any) -> tuple[int, int]:  # noqa: N802
        return self._note(super().CreateFile(*args))

    def CreateEvent(self) -> tuple[int, int]:  # noqa: N802
        return self._note(super().CreateEvent())

    def CloseHandle(self, handle: int) -> int:  # noqa: N802
        with self._ledger_lock:
            self.open.remove(handle)  # before the system may give the number to somebody else
        code = super().CloseHandle(handle)
        assert not code
        return code


def past() -> float:
    return time.monotonic() - 1
