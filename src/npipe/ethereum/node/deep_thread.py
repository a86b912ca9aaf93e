"""Threads with a stack that is large enough for the EVM, and the result of a job in one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["settle", "start_deep_thread"]

# A thousand nested contract calls are tens of thousands of Python frames, some of them in C.
_STACK_BYTES = 64 * 1024 * 1024  # address space; only used pages become memory
_STARTING = threading.Lock()  # the stack size is a setting of the process


def start_deep_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread with a large stack; the process's setting is restored at once."""
    with _STARTING:
        before = threading.stack_size(_STACK_BYTES)
        try:
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
        finally:
            threading.stack_size(before)
    return thread


def settle(future: Future[Any], function: Callable[[], Any]) -> None:
    """Run a job and set the result of its future.

    An exception of the job does not end the thread.
    """
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)
