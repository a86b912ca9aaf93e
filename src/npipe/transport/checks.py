"""Checks of the arguments that every backend takes: deadlines, timeouts, modes and buffers."""

from __future__ import annotations

import time

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["MODES", "deadline", "duration", "flat_view", "require_mode"]

MODES = ("r", "w", "rw")
_DAY = 86400.0  # seconds
_YEAR = 366 * _DAY


def deadline(when: float | None) -> float | None:
    """Check that ``when`` can be a deadline, a value of ``time.monotonic()``.

    Args:
        when: The deadline in seconds, or None.

    Returns:
        ``when``.

    Raises:
        ValueError: ``when`` is NaN; or it lies more than a day in the past and less than a day
            after the clock's zero, as a duration does (``set_deadline(5)``); or it is a value of
            ``time.time()``.
        TypeError: ``when`` is not a number.
    """
    if when is None:
        return None
    now = time.monotonic()
    if now <= when <= now + _YEAR:
        return when
    if when != when + 0.0:
        raise ValueError("a deadline is a time.monotonic() value or None, and not NaN")
    if 0 < when < _DAY and when < now - _DAY:
        raise ValueError(
            f"a deadline is a time.monotonic() value, and {when} lies {now - when:.0f} seconds in "
            f"the past: for {when} seconds from now give time.monotonic() + {when}"
        )
    if abs(when - time.time()) < _YEAR < time.time() - now:
        raise ValueError(
            f"a deadline is a time.monotonic() value, and {when} is one of time.time(): "
            f"give time.monotonic() + SECONDS"
        )
    return when


def duration(timeout: float | None) -> float | None:
    """Check that ``timeout`` can be a duration.

    Args:
        timeout: The duration in seconds, or None.

    Returns:
        ``timeout``; 0 for a negative one.

    Raises:
        ValueError: ``timeout`` is NaN or infinite.
        TypeError: ``timeout`` is not a number.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not hasattr(timeout, "__float__"):
        text = f"a timeout is a number of seconds or None, not {type(timeout).__name__}"
        raise TypeError(text)
    try:
        is_finite = timeout * 0.0 == 0.0
    except OverflowError:  # an integer that no float can hold
        is_finite = False
    if not is_finite:
        raise ValueError(f"timeout={timeout}: give a number of seconds, or None to wait for ever")
    return max(timeout, 0)


def require_mode(mode: str) -> None:
    """Check that ``mode`` is one of ``MODES``; raise ValueError if not."""
    if mode not in MODES:
        raise ValueError(f'mode={mode!r}: give "r", "w" or "rw", as seen from this end')


def flat_view(buffer: ReadableBuffer) -> memoryview:
    """Return the bytes of a caller's buffer of any shape.

    Args:
        buffer: The buffer; its items are contiguous.

    Returns:
        A view of bytes, for a ``with`` statement: a view that a traceback keeps alive makes
        changes of the buffer's size fail with BufferError.

    Raises:
        TypeError: ``buffer`` is not a buffer, or not contiguous.
    """
    with memoryview(buffer) as view:
        # An empty buffer of several dimensions cannot be cast.
        return view.cast("B") if view.nbytes else memoryview(bytearray())
