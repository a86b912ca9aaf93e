"""geth's messages for wrong parameters of a method.

The RPC layer has already rejected the parameters by the types in ``formats``, so this code may be
slow. It checks the values in geth's order and stops at the first that geth's decoders (hexutil,
common, rpc, encoding/json) would reject too, because tools and users know those messages. If it
finds no such value, the message is msgspec's, after geth's "invalid argument N".

Imports no py-evm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args, get_origin

import msgspec

from npipe.ethereum.api.eth_subscriptions import EthSubscriptions
from npipe.ethereum.chain.logs import LogCriteria
from npipe.ethereum.values import overrides
from npipe.ethereum.values import simulate_options as simulation
from npipe.ethereum.values import trace_options as tracing
from npipe.ethereum.values import types as formats
from npipe.rpc.service.binding import ErrorFormatter, Parameter

__all__ = ["error_formatter", "format_error"]

_COUNT = r"(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19})?"
_PATH = re.compile(r" - at .*?\$\[(\d+)\].*$")  # the place of the error in msgspec's message


@dataclass(frozen=True, slots=True)
class _JSONPath:
    """The place of a value in the messages of Go's encoding/json: alone, or a field of a struct."""

    struct: str = ""
    field: str = ""

    def __truediv__(self, name: str) -> _JSONPath:
        return _JSONPath(self.struct, f"{self.field}.{name}" if self.field else name)

    def refuse(self, what: str, go: str) -> str:
        at = f"struct field {self.struct}.{self.field}" if self.field else "value"
        return f"json: cannot unmarshal {what} into Go {at} of type {go}"


_ALONE = _JSONPath()
# The Go types in geth's messages, by the string member of our type.
_FIXED = {
    formats.Address: ("common.Address", 40),
    formats.Target: ("common.Address", 40),
    formats.Hash: ("common.Hash", 64),
}
_NUMBERS = {
    get_args(formats.Quantity)[0]: ("*hexutil.Big", 256),
    get_args(formats.Uint64)[0]: ("hexutil.Uint64", 64),
    get_args(formats.Index)[0]: ("hexutil.Uint", 64),
}
_STRUCTS: dict[Any, str] = {
    formats.TransactionRequest: "ethapi.TransactionArgs",
    overrides.BlockOverrides: "override.BlockOverrides",
    overrides.StateOverride: "override.OverrideAccount",
    formats.AccessListEntry: "types.AccessTuple",
    formats.Authorization: "types.SetCodeAuthorization",
    overrides.WithdrawalRequest: "types.Withdrawal",
    LogCriteria: "filters.input",
    simulation.BlockCalls: "ethapi.simBlock",
    simulation.Simulation: "ethapi.simOpts",
    tracing.TraceConfig: "tracers.TraceConfig",
    tracing.TraceCallConfig: "tracers.TraceCallConfig",
}
_LISTS: dict[Any, str] = {
    formats.AccessListEntry: "types.AccessList",
    formats.Authorization: "[]types.SetCodeAuthorization",
    formats.TransactionRequest: "[]ethapi.TransactionArgs",
    simulation.BlockCalls: "[]ethapi.simBlock",
    overrides.WithdrawalRequest: "types.Withdrawals",
}
_PLAIN = {bool: "bool", str: "string", float: "float64", int: "int"}


def error_formatter(part: object) -> ErrorFormatter:
    """Return the function that formats the message of -32602 for the methods of ``part``."""
    return partial(format_error, at=1) if isinstance(part, EthSubscriptions) else format_error


def format_error(
    parameters: Sequence[Parameter], params: bytes, error: Exception, *, at: int = 0
) -> str:
    """Return geth's message for ``params``, a JSON array that does not fit ``parameters``.

    ``at`` is the number of arguments before them: 1 for the name of a subscription.
    """
    try:
        values = msgspec.json.decode(params)
    except (msgspec.DecodeError, RecursionError):
        values = None
    if not isinstance(values, list):
        return f"invalid params: {error}"
    for index, value in enumerate(values):
        if index == len(parameters):
            return f"too many arguments, want at most {index + at}"
        if fault := _fault(value, _ALONE, parameters[index].type):
            return f"invalid argument {index + at}: {fault}"
    if len(values) < len(parameters) and parameters[len(values)].required:
        return f"missing value for required argument {len(values) + at}"
    return _PATH.sub("", f"{_argument(str(error), at)}{error}")


def _argument(text: str, at: int) -> str:
    found = _PATH.search(text)
    return f"invalid argument {int(found[1]) + at}: " if found else "invalid params: "


def _fault(value: Any, spot: _JSONPath, kind: Any) -> str:
    """Return why ``value`` is not of ``kind``, or "" if this function cannot tell."""
    if value is None and type(None) in get_args(kind):
        return ""
    for member in _members(kind):
        if check := _CHECKS.get(member) or _COMPOUND.get(get_origin(member)):
            return str(check(value, spot, member))
        if member in _PLAIN and not isinstance(value, int | float if member is float else member):
            return spot.refuse(_json_type(value), _PLAIN[member])
    return ""


def _members(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union type, or the type itself."""
    if kind in _CHECKS or get_origin(kind) in (list, dict):
        return (kind,)
    return tuple(get_args(kind)) or (kind,)


def _json_type(value: Any) -> str:
    kinds = {bool: "bool", str: "string", list: "array", dict: "object", type(None): "null"}
    return kinds.get(type(value), "number")


# -- hex, as in package hexutil -----------------------------------------------------------------


def _hex_fault(text: str) -> str:
    """Return the error of bytes in hex, or ""."""
    if text[:2].lower() != "0x":
        return "hex string without 0x prefix" if text else "empty hex string"
    if len(text) % 2:
        return "hex string of odd length"
    return "" if _are_digits(text[2:]) else "invalid hex string"


def _number_fault(text: str, bits: int = 64) -> str:
    """Return the error of a number in hex, or "". Leading zeros are accepted, unlike in geth."""
    if text[:2].lower() != "0x":
        return "hex string without 0x prefix" if text else "empty hex string"
    if len(text) == 2:
        return 'hex string "0x"'
    if len(text) - 2 > bits // 4:
        return f"hex number > {bits} bits"
    return "" if _are_digits(text[2:]) else "invalid hex string"


def _are_digits(text: str) -> bool:
    return re.fullmatch("[0-9a-fA-F]*", text) is not None


def _fixed(go: str, digits: int, value: Any, spot: _JSONPath, *_: Any) -> str:
    if not isinstance(value, str):
        return spot.refuse("non-string", go)
    fault = _hex_fault(value) if value else ""
    if fault and fault != "invalid hex string":
        return spot.refuse(fault, go)
    if len(value) != digits + 2:
        return f"hex string has length {max(0, len(value) - 2)}, want {digits} for {go}"
    return spot.refuse(fault, go) if fault else ""


def _octets(value: Any, spot: _JSONPath, *_: Any) -> str:
    go = "hexutil.Bytes"
    fault = _hex_fault(value) if isinstance(value, str) else "non-string"
    return spot.refuse(fault, go) if fault else ""


def _number(go: str, bits: int, value: Any, spot: _JSONPath, *_: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return ""  # more tolerant than geth: see ``formats``
    fault = _number_fault(value, bits) if isinstance(value, str) else "non-string"
    return spot.refuse(fault, go) if fault else ""


def _count(value: Any, *_: Any) -> str:
    """Check a number as Go's package math does: hex or decimal, with or without quotes."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return "" if re.fullmatch(_COUNT, text) else f"invalid hex or decimal integer {_quoted(text)}"


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _text(go: str, value: Any, spot: _JSONPath, *_: Any) -> str:
    return "" if isinstance(value, str) else spot.refuse(_json_type(value), go)


# -- blocks, as in package rpc -----------------------------------------------------------------


def _block(value: Any, spot: _JSONPath, *_: Any) -> str:
    if isinstance(value, str):
        return _block_fault(value)
    if isinstance(value, dict):
        if value.get("blockHash") is not None and value.get("blockNumber") is not None:
            return "cannot specify both BlockHash and BlockNumber, choose one or the other"
        return spot.refuse("object", "string") if value.get("blockHash") else ""
    if isinstance(value, int) and not isinstance(value, bool):
        return "" if value >= 0 else spot.refuse("number", "string")
    return spot.refuse(_json_type(value), "string")


def _block_number(value: Any, *_: Any) -> str:
    """Check a block that cannot be an object, as geth decodes it."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return ""
    return _block_fault(value) if isinstance(value, str) else "hex string without 0x prefix"


def _block_fault(text: str) -> str:
    if text in formats.TAGS:
        return ""
    if len(text) == 66:
        return _fixed("common.Hash", 64, text, _ALONE)
    fault = _number_fault(text)
    return fault or ("blocknumber too high" if int(text, 16) >= 2**63 else "")


# -- composite types ----------------------------------------------------------------------------


def _list_fault(value: Any, spot: _JSONPath, kind: Any) -> str:
    (item,) = get_args(kind)
    if not isinstance(value, list):
        go = _LISTS.get(item) or f"[]{_PLAIN.get(item, 'string')}"
        return spot.refuse(_json_type(value), go)
    return next(filter(None, (_fault(each, spot, item) for each in value)), "")


def _dict_fault(value: Any, spot: _JSONPath, kind: Any) -> str:
    key_kind, item_kind = get_args(kind)
    if not isinstance(value, dict):
        go = (
            "override.StateOverride"
            if item_kind is overrides.StateOverride
            else "map[string]string"
        )
        return spot.refuse(_json_type(value), go)
    inner = _ALONE if item_kind in _STRUCTS else spot
    for key, item in value.items():
        if fault := _fault(key, spot, key_kind) or _fault(item, inner, item_kind):
            return fault
    return ""


def _struct_fault(value: Any, spot: _JSONPath, kind: Any) -> str:
    go = _STRUCTS[kind]
    if not isinstance(value, dict):
        return spot.refuse(_json_type(value), go)
    inner = spot if spot.field else _JSONPath(go.rpartition(".")[2])
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name, item in value.items():  # in the order of the document, as in Go
        own = _LOG_FIELDS.get(name) if kind is LogCriteria else None
        check = own or (partial(_fault, kind=types[name]) if name in types else None)
        if check and item is not None and (fault := check(item, inner / name)):
            return fault
    return ""


# -- filter criteria, as in package filters -----------------------------------------------------


def _log_addresses(value: Any, spot: _JSONPath, *_: Any) -> str:
    if isinstance(value, str):
        return _sized_fault(value, 20, "invalid address: ", "address")
    if not isinstance(value, list):
        return "invalid addresses in query"
    for index, item in enumerate(value):
        if not isinstance(item, str):
            return f"non-string address at index {index}"
        if fault := _sized_fault(item, 20, f"invalid address at index {index}: ", "address"):
            return fault
    return ""


def _log_topics(value: Any, spot: _JSONPath, *_: Any) -> str:
    if not isinstance(value, list):
        return spot.refuse(_json_type(value), "[]interface {}")
    if len(value) > 4:
        return "exceed max topics"
    for place in value:
        for topic in place if isinstance(place, list) else [place]:
            if topic is not None and not isinstance(topic, str):
                return "invalid topic(s)"
            if topic is not None and (fault := _sized_fault(topic, 32, "", "topic")):
                return fault
    return ""


def _sized_fault(text: str, size: int, prefix: str, what: str) -> str:
    fault, octets = _hex_fault(text), len(text) // 2 - 1
    if not fault and octets != size:
        fault = f"hex has invalid length {octets} after decoding; expected {size} for {what}"
    return prefix + fault if fault else ""


_LOG_FIELDS = {
    "fromBlock": _block_number,
    "toBlock": _block_number,
    "address": _log_addresses,
    "topics": _log_topics,
}
_CHECKS: dict[Any, Any] = {
    **{kind: partial(_fixed, *how) for kind, how in _FIXED.items()},
    **{kind: partial(_number, *how) for kind, how in _NUMBERS.items()},
    **dict.fromkeys(_STRUCTS, _struct_fault),
    formats.Data: _octets,
    formats.BlockText: _block,
    formats.BlockNumber: _block_number,
    formats.Count: _count,
    get_args(formats.FilterId)[0]: partial(_text, "rpc.ID"),
    get_args(formats.Slot)[0]: partial(_text, "string"),
}
_COMPOUND: dict[Any, Any] = {list: _list_fault, dict: _dict_fault}
