"""What the chain refuses, in geth's words and with geth's codes.

Tools match on these texts ("nonce too low", "execution reverted"), so the wording is an interface.
geth answers -32000 for nearly everything; 3 is a revert, with the contract's own bytes in ``data``.
Imports no py-evm.
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

_REASON = bytes.fromhex("08c379a0")  # the selector of Error(string), which `require` reverts with
_PANIC = bytes.fromhex("4e487b71")  # of Panic(uint256), which a failed `assert` reverts with
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
    """-32000: the chain will not do this."""


class NotRunnable(ChainError):
    """A call that cannot even begin: gas, money or price do not suffice."""


class UnknownBlock(ChainError):
    """There is no such block, where one is needed to answer at all."""

    _default = "header not found"


class UnknownAccount(ChainError):
    """The address is none whose key this server holds."""

    _default = "unknown account"


class Stopped(ChainError):
    """The chain is being stopped: what it is asked is not done, or was interrupted."""

    _default = "the chain has been stopped"


class FilterNotFound(ChainError):
    """No filter of that id: never made, removed, or not asked for too long."""

    _default = "filter not found"


class Reverted(RPCError):
    """3: the contract reverted. ``data`` is what it returned, in hex, to be decoded by the ABI."""

    code = 3

    def __init__(self, output: bytes) -> None:
        reason = revert_reason(output)
        super().__init__(
            f"execution reverted: {reason}" if reason else "execution reverted",
            data="0x" + output.hex(),
        )


def revert_reason(output: bytes) -> str:
    """The text in what a contract reverted with, or "" where it gave none that is well formed."""
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
