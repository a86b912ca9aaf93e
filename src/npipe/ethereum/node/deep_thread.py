"""Threads with a stack that is deep enough for the EVM, and the outcome of a job in one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

__all__ = ["settle", "start_deep_thread"]

# A thousand nested calls of contracts are tens of thousands of Python frames, some of them in C.
_STACK_BYTES = 64 * 1024 * 1024  # address space; only what is used becomes memory
_STARTING = threading.Lock()  # the stack size is the process's setting


def start_deep_thread(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread with a deep stack; the process's setting is put back at once."""
    with _STARTING:
        before = threading.stack_size(_STACK_BYTES)
        try:
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
        finally:
            threading.stack_size(before)
    return thread


def settle(future: Future[Any], function: Callable[[], Any]) -> None:
    """Run a job and hand over its outcome. The exception of one job never ends the thread."""
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)
