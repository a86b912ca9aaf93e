"""The hash of structured data (EIP-712), as eth_signTypedData_v4 accepts it.

A type with its fields and the types that they use is hashed once; a value is hashed field by field.
Arrays and nested structures are encoded as in version 4; null is encoded as zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from eth_hash.auto import keccak

from npipe.errors import InvalidParams

__all__ = ["typed_data_hash"]

_ARRAY = re.compile(r"(.+)\[(\d*)\]")
_NUMBER = re.compile(r"(u?)int(\d*)")
_FIXED = re.compile(r"bytes(\d+)")
_DOMAIN = "EIP712Domain"
_MAX_DEPTH = 64  # of structures in structures, and of arrays in arrays

Types = Mapping[str, list[tuple[str, str]]]
"""The fields of each structure, as name and type."""


def typed_data_hash(told: Mapping[str, Any]) -> bytes:
    """Return the hash to sign. Raises InvalidParams if the data contradicts its types."""
    types = _types(told.get("types"))
    primary = told.get("primaryType")
    if not isinstance(primary, str) or primary not in types:
        raise InvalidParams(f"primaryType: {primary!r} is not one of the types")
    if _DOMAIN not in types:
        raise InvalidParams(f"types has no {_DOMAIN}")
    parts = b"\x19\x01" + _hash_struct(types, _DOMAIN, told.get("domain") or {}, 0)
    if primary != _DOMAIN:
        parts += _hash_struct(types, primary, told.get("message") or {}, 0)
    return bytes(keccak(parts))


def _types(told: Any) -> Types:
    types: dict[str, list[tuple[str, str]]] = {}
    if not isinstance(told, dict):
        raise InvalidParams("types: expected an object")
    for name, fields in told.items():
        try:
            types[name] = [(str(field["name"]), str(field["type"])) for field in fields]
        except (TypeError, KeyError):
            raise InvalidParams(f"types.{name}: expected a list of names and types") from None
    return types


def _base(kind: str) -> str:
    """Return the type of the elements of an array type, or the type itself."""
    while found := _ARRAY.fullmatch(kind):
        kind = found[1]
    return kind


def _used(types: Types, name: str) -> set[str]:
    """Return the structure types that one uses, itself included."""
    found, waiting = set(), [name]
    while waiting:
        each = waiting.pop()
        if each in types and each not in found:
            found.add(each)
            waiting.extend(_base(kind) for _, kind in types[each])
    return found


def _hash_type(types: Types, name: str) -> bytes:
    others = sorted(_used(types, name) - {name})
    text = "".join(
        f"{each}({','.join(f'{kind} {field}' for field, kind in types[each])})"
        for each in (name, *others)
    )
    return bytes(keccak(text.encode()))


def _hash_struct(types: Types, name: str, value: Any, depth: int) -> bytes:
    if not isinstance(value, dict):
        raise InvalidParams(f"{name}: expected an object, not {value!r:.80}")
    if depth > _MAX_DEPTH:
        raise InvalidParams(f"{name}: nested more than {_MAX_DEPTH} deep")
    encoded = _hash_type(types, name)
    for field, kind in types[name]:
        encoded += _encode(types, kind, value.get(field), f"{name}.{field}", depth + 1)
    return bytes(keccak(encoded))


def _encode(types: Types, kind: str, value: Any, where: str, depth: int) -> bytes:
    """Encode a value in 32 bytes."""
    if found := _ARRAY.fullmatch(kind):
        return _encode_array(types, (found[1], found[2]), value, where, depth)
    if kind in types:
        return bytes(32) if value is None else _hash_struct(types, kind, value, depth)
    if kind == "string":
        if not isinstance(value, str | None):
            raise InvalidParams(f"{where}: expected a string, not {value!r:.80}")
        return bytes(keccak((value or "").encode("utf-8", "replace")))
    if kind == "bytes":
        return bytes(keccak(_octets(value, where)))
    if value is None:
        return bytes(32)
    return _encode_word(kind, value, where)


def _encode_array(types: Types, of: tuple[str, str], value: Any, where: str, depth: int) -> bytes:
    inner, size = of
    if value is None:
        value = []
    if not isinstance(value, list) or (size and len(value) != int(size)):
        raise InvalidParams(f"{where}: expected a list of {size or 'any number of'} {inner}")
    if depth > _MAX_DEPTH:
        raise InvalidParams(f"{where}: nested more than {_MAX_DEPTH} deep")
    return bytes(keccak(b"".join(_encode(types, inner, item, where, depth + 1) for item in value)))


def _encode_word(kind: str, value: Any, where: str) -> bytes:
    if kind == "bool":
        if not isinstance(value, bool):
            raise InvalidParams(f"{where}: expected true or false, not {value!r:.80}")
        return value.to_bytes(32, "big")
    if kind == "address":
        octets = _octets(value, where)
        if len(octets) != 20:
            raise InvalidParams(f"{where}: an address has 20 bytes, not {len(octets)}")
        return octets.rjust(32, b"\0")
    if found := _FIXED.fullmatch(kind):
        octets = _octets(value, where)
        if not len(octets) == int(found[1]) <= 32:
            raise InvalidParams(f"{where}: expected {kind}, not {len(octets)} bytes")
        return octets.ljust(32, b"\0")
    if found := _NUMBER.fullmatch(kind):
        return _encode_number(value, int(found[2] or 256), bool(found[1]), where)
    raise InvalidParams(f"{where}: unknown type {kind!r:.80}")


def _encode_number(value: Any, bits: int, unsigned: bool, where: str) -> bytes:
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    least, end = (0, 1 << bits) if unsigned else (-1 << (bits - 1), 1 << (bits - 1))
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number < end:
        raise InvalidParams(f"{where}: expected a number of {bits} bits, not {value!r:.80}")
    return (number % 2**256).to_bytes(32, "big")


def _octets(value: Any, where: str) -> bytes:
    if value is None:
        return b""
    try:
        if value[:2] in ("0x", "0X"):
            return bytes.fromhex(value[2:])
    except (TypeError, ValueError):
        pass
    raise InvalidParams(f"{where}: expected bytes in hex, not {value!r:.80}")
