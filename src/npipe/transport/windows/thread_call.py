"""Blocking calls that have no overlapped form, each in a thread that can be cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.overlapped import LONGEST_WAIT, milliseconds
from npipe.transport.windows.winerror import ERROR_OPERATION_ABORTED

__all__ = ["ThreadCall"]

_CANCEL_PATIENCE: Final = 1.0  # seconds to wait for a thread whose blocking call was cancelled


class ThreadCall:
    """A blocking call in a separate thread that can be cancelled or abandoned.

    It serves calls that have no overlapped form: FlushFileBuffers, and CreateFile on a pipe of
    another computer. CancelSynchronousIo usually ends them, but name resolution, for example,
    continues for a while (Microsoft page "CancelSynchronousIo"). A thread that continues is
    abandoned; ``unwanted`` closes the handle that it still gets.
    """

    def __init__(
        self,
        call: Callable[[], tuple[int, int]],
        name: str,
        api: Kernel32,
        done: Callable[[], object] = lambda: None,
        unwanted: Callable[[tuple[int, int]], object] = lambda result: None,
    ) -> None:
        """Prepare the call.

        Args:
            call: Returns (Windows error code, handle or 0).
            name: Name of the thread.
            api: The bindings.
            done: Called in the thread when the call has ended.
            unwanted: Called in the thread with a result that arrives after ``finish``.
        """
        self._call = call
        self._api = api
        self._done = done
        self._unwanted = unwanted
        self._lock = threading.Lock()
        self._result: tuple[int, int] | None = None
        self._given_up = False
        self.failure: BaseException | None = None  # the exception of the call
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def ended(self) -> bool:
        return self._result is not None

    def start(self) -> None:
        self._thread.start()

    def wait(self, due: float | None, cancel: threading.Event | None = None) -> None:
        """Wait until the call has ended, the deadline has passed or ``cancel`` is set.

        Ctrl-C ends the wait within 0.2 seconds, and ``cancel`` within 0.05.

        Args:
            due: A value of ``time.monotonic()`` in seconds; None for no deadline.
            cancel: An event that ends the wait.
        """
        longest = LONGEST_WAIT if cancel is None else 50
        while not self.ended() and (due is None or time.monotonic() < due):
            if cancel is not None and cancel.is_set():
                return
            self._thread.join(min(milliseconds(due), longest) / 1000)

    def finish(self, patience: float = _CANCEL_PATIENCE) -> tuple[int, int]:
        """Return the result; cancel a call that has not ended.

        Args:
            patience: Seconds to wait for the end of a cancelled call.

        Returns:
            The result of the call; (ERROR_OPERATION_ABORTED, 0) if it was abandoned.
        """
        until = time.monotonic() + patience
        while self._thread.is_alive() and not self.ended():
            self._api.CancelSynchronousIo(self._thread.native_id or 0)
            self._thread.join(0.01)  # a cancellation before the thread is in its call is lost
            if time.monotonic() >= until:
                break
        with self._lock:
            if self._result is None:
                self._given_up = True
                return ERROR_OPERATION_ABORTED, 0
            return self._result

    def _run(self) -> None:
        result = (ERROR_OPERATION_ABORTED, 0)
        try:
            result = self._call()
        except Exception as failure:
            self.failure = failure
        finally:
            with self._lock:
                self._result = result
                if self._given_up:
                    self._unwanted(result)
            self._done()
