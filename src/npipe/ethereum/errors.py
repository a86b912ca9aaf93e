"""The errors of the chain, with geth's messages and codes.

Tools match on these messages ("nonce too low", "execution reverted"), so they are part of the
interface. geth uses -32000 for nearly all errors, and 3 for a revert, with the output of the
contract in ``data``. Imports no py-evm.
"""

from __future__ import annotations

from npipe.errors import RPCError

__all__ = [
    "ChainError",
    "FilterNotFound",
    "NotRunnable",
    "Reverted",
    "Stopped",
    "UnknownAccount",
    "UnknownBlock",
]

_REASON = bytes.fromhex("08c379a0")  # the selector of Error(string), used by `require`
_PANIC = bytes.fromhex("4e487b71")  # the selector of Panic(uint256), used by `assert`
_PANICS = {
    0x00: "generic panic",
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}


class ChainError(RPCError):
    """-32000: the chain refuses or fails."""


class NotRunnable(ChainError):
    """A call cannot begin: gas, balance or price do not suffice."""


class UnknownBlock(ChainError):
    """The requested block does not exist."""

    _default = "header not found"


class UnknownAccount(ChainError):
    """The node does not have the key of this address."""

    _default = "unknown account"


class Stopped(ChainError):
    """The chain is stopping: the call was refused or interrupted."""

    _default = "the chain has been stopped"


class FilterNotFound(ChainError):
    """No filter has this id: it never existed, was removed, or was not polled for too long."""

    _default = "filter not found"


class Reverted(RPCError):
    """3: the contract reverted. ``data`` is its output, in hex, ABI-encoded."""

    code = 3

    def __init__(self, output: bytes) -> None:
        reason = revert_reason(output)
        super().__init__(
            f"execution reverted: {reason}" if reason else "execution reverted",
            data="0x" + output.hex(),
        )


def revert_reason(output: bytes) -> str:
    """Return the reason in the output of a reverted contract, or "" if it has no valid one."""
    selector, body = output[:4], output[4:]
    if selector == _PANIC and len(body) >= 32:
        code = int.from_bytes(body[:32], "big")
        return _PANICS.get(code, f"unknown panic code: {code:#x}")
    if selector == _REASON and len(body) >= 64:
        start = int.from_bytes(body[:32], "big") + 32  # past the length of the string
        size = int.from_bytes(body[start - 32 : start], "big")
        if start + size <= len(body):
            return body[start : start + size].decode("utf-8", "replace")
    return ""
