"""What each Windows error code becomes."""

from __future__ import annotations

import errno

import pytest

from npipe.transport.windows.winerror import SHORTAGE, error

TABLE = [
    (2, FileNotFoundError, errno.ENOENT),
    (3, FileNotFoundError, errno.ENOENT),
    (5, PermissionError, errno.EACCES),
    (6, OSError, errno.EBADF),
    (64, ConnectionResetError, errno.ECONNRESET),
    (109, BrokenPipeError, errno.EPIPE),
    (121, TimeoutError, errno.ETIMEDOUT),
    (183, OSError, errno.EADDRINUSE),
    (230, OSError, errno.EINVAL),
    (231, OSError, errno.EBUSY),
    (232, BrokenPipeError, errno.EPIPE),
    (233, BrokenPipeError, errno.EPIPE),
    (234, OSError, errno.EMSGSIZE),
    (258, TimeoutError, errno.ETIMEDOUT),
    (535, OSError, errno.EISCONN),
    (536, OSError, errno.ENOTCONN),
    (995, OSError, errno.ECANCELED),
    (996, BlockingIOError, errno.EAGAIN),
    (997, BlockingIOError, errno.EINPROGRESS),
]


@pytest.mark.parametrize(("code", "kind", "number"), TABLE)
def test_b11_b29_the_table(code: int, kind: type[OSError], number: int) -> None:
    exc = error(code, r"\\.\pipe\x")
    assert isinstance(exc, kind)
    assert type(exc) is kind
    assert (exc.errno, exc.winerror) == (number, code)  # type: ignore[attr-defined,unused-ignore]
    assert exc.filename == r"\\.\pipe\x"
    assert r"\\.\pipe\x" in str(exc).replace("\\\\", "\\")


@pytest.mark.parametrize("code", [123, 161])
def test_a_bad_name_is_a_value_error(code: int) -> None:
    exc = error(code, "a:b")
    assert type(exc) is ValueError
    assert "a:b" in str(exc)


@pytest.mark.parametrize("code", [1450, 87, 31])
def test_other_codes_keep_their_number(code: int) -> None:
    exc = error(code)
    assert isinstance(exc, OSError)
    assert exc.winerror == code  # type: ignore[attr-defined,unused-ignore]
    assert str(code) in str(exc)


def test_shortage_is_no_code_of_the_table() -> None:
    assert SHORTAGE.isdisjoint(code for code, *_ in TABLE)
