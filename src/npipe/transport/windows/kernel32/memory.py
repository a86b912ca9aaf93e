"""Structures and buffers that the Windows calls read and write."""

from __future__ import annotations

import ctypes
from ctypes import Structure, byref, c_size_t, c_void_p, wintypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "OVERLAPPED",
    "OVERLAPPED_ENTRY",
    "SECURITY_ATTRIBUTES",
    "address_of",
    "address_of_bytes",
    "location_of",
    "overlapped",
]


class OVERLAPPED(Structure):
    """Memory that the kernel writes when an operation ends; it has to exist until then."""

    _fields_ = (
        ("Internal", c_size_t),  # the status: STATUS_PENDING until the operation has ended
        ("InternalHigh", c_size_t),  # the number of bytes transferred
        ("Offset", wintypes.DWORD),
        ("OffsetHigh", wintypes.DWORD),
        ("hEvent", wintypes.HANDLE),
    )


class OVERLAPPED_ENTRY(Structure):
    """A packet of a completion port (Microsoft page "OVERLAPPED_ENTRY")."""

    _fields_ = (
        ("lpCompletionKey", c_size_t),
        ("lpOverlapped", c_void_p),
        ("Internal", c_size_t),
        ("dwNumberOfBytesTransferred", wintypes.DWORD),
    )


class SECURITY_ATTRIBUTES(Structure):
    """The structure of the same name in minwinbase.h."""

    _fields_ = (
        ("nLength", wintypes.DWORD),
        ("lpSecurityDescriptor", c_void_p),
        ("bInheritHandle", wintypes.BOOL),
    )


def overlapped(event: int) -> tuple[OVERLAPPED, Any]:
    """Return an OVERLAPPED that sets ``event``, and the reference to pass to the calls."""
    structure = OVERLAPPED(hEvent=event)
    return structure, byref(structure)


def address_of(buffer: WriteableBuffer) -> Any:
    """Return a pointer to a writable buffer of at least one byte; the pointer pins the buffer."""
    return byref(ctypes.c_char.from_buffer(buffer))


def location_of(structure: Structure) -> int:
    """Return the address of a structure, as completion packets give it."""
    return ctypes.addressof(structure)


def address_of_bytes(data: bytes) -> Any:
    """Return a pointer to the data of ``data``, for reading only; the caller keeps ``data``."""
    return ctypes.c_char_p(data)
