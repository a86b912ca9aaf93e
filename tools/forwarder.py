"""Writes a Windows DLL that has one function, which is another DLL's under a new name.

Wine 8 lacks bcryptprimitives.dll, which Go since 1.22 (and Rust's standard library) load at start
for one function, ProcessPrng. Windows has had the same under another name for long, and a DLL may
say "that export of mine is that one of another DLL": no code and no compiler is needed, only an
export table in the format that Microsoft documents as PE32+.
"""

from __future__ import annotations

import struct

__all__ = ["forwarding_dll"]

_SECTION = 0x1000  # where the one section is in memory; in the file it is at 0x200
_ALIGNED = 0x200


def forwarding_dll(name: str, export: str, target: str) -> bytes:
    """Return the 64-bit DLL ``name`` whose function ``export`` is ``target`` ("dll.function")."""
    table = _exports(name, export, target)
    optional = struct.pack(
        "<HBBIIIIIQIIHHHHHHIIIIHHQQQQII",
        *(0x20B, 14, 0, 0, _ALIGNED, 0, 0, 0),  # PE32+; no code, no entry point
        *(0x1_8000_0000, 0x1000, _ALIGNED),  # base address, alignment in memory and in the file
        *(6, 0, 0, 0, 6, 0, 0),  # for Windows 6.0 and later
        *(0x2000, _ALIGNED, 0, 3, 0x100),  # size in memory, of headers; console; no execution
        *(0x10_0000, 0x1000, 0x10_0000, 0x1000, 0, 16),
    ) + struct.pack("<II120x", _SECTION, len(table))  # 16 directories: exports, and 15 empty ones
    coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x2022)  # x86-64, a DLL
    section = struct.pack(
        *("<8sIIIIIIHHI", b".edata", len(table), _SECTION, _ALIGNED, _ALIGNED),
        *(0, 0, 0, 0, 0x4000_0040),  # initialised data, to be read
    )
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    headers = dos + b"PE\0\0" + coff + optional + section
    return headers.ljust(_ALIGNED, b"\0") + table.ljust(_ALIGNED, b"\0")


def _exports(name: str, export: str, target: str) -> bytes:
    """Return the export table: an address that lies in the table itself names a forward."""
    strings = [text.encode() + b"\0" for text in (name, export, target)]
    fixed = 40 + 4 + 4 + 2  # the directory, one address, one name, one ordinal
    at = [_SECTION + fixed + sum(map(len, strings[:i])) for i in range(len(strings))]
    directory = struct.pack(
        *("<IIHHIIIIIII", 0, 0, 0, 0, at[0], 1, 1, 1),
        *(_SECTION + 40, _SECTION + 44, _SECTION + 48),
    )
    return directory + struct.pack("<IIH", at[2], at[1], 0) + b"".join(strings)
