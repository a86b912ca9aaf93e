"""Contracts for the tests, written in the EVM's instructions. No compiler is needed.

``assemble`` takes mnemonics, ``0x..`` literals (pushed with the smallest PUSH) and labels:
``:name`` defines one where a JUMPDEST is put, ``@name`` pushes where it is.
"""

from __future__ import annotations

__all__ = ["ANSWER", "COUNTER", "LOGGER", "LOOP", "RECURSE", "REVERT", "STORE", "assemble", "init"]

_CODES = {
    "STOP": 0x00, "ADD": 0x01, "SUB": 0x03, "LT": 0x10, "EQ": 0x14, "ISZERO": 0x15, "SHR": 0x1C,
    "ADDRESS": 0x30, "CALLER": 0x33, "CALLVALUE": 0x34, "CALLDATALOAD": 0x35,
    "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37, "CODECOPY": 0x39, "EXTCODESIZE": 0x3B,
    "COINBASE": 0x41, "TIMESTAMP": 0x42, "NUMBER": 0x43, "PREVRANDAO": 0x44, "GASLIMIT": 0x45,
    "CHAINID": 0x46, "BLOBHASH": 0x49, "BLOBBASEFEE": 0x4A, "BASEFEE": 0x48, "BLOCKHASH": 0x40,
    "POP": 0x50, "MLOAD": 0x51, "MSTORE": 0x52, "SLOAD": 0x54, "SSTORE": 0x55, "JUMP": 0x56,
    "JUMPI": 0x57, "GAS": 0x5A, "JUMPDEST": 0x5B, "DUP1": 0x80, "DUP2": 0x81, "SWAP1": 0x90,
    "BALANCE": 0x31, "EXTCODECOPY": 0x3C, "RETURNDATACOPY": 0x3E, "EXTCODEHASH": 0x3F,
    "MCOPY": 0x5E,
    "TLOAD": 0x5C, "TSTORE": 0x5D, "CALLCODE": 0xF2, "CREATE2": 0xF5, "UNDEFINED": 0x0C,
    "LOG0": 0xA0, "LOG1": 0xA1, "LOG2": 0xA2, "CREATE": 0xF0, "CALL": 0xF1, "RETURN": 0xF3,
    "DELEGATECALL": 0xF4, "STATICCALL": 0xFA, "REVERT": 0xFD, "INVALID": 0xFE, "SELFDESTRUCT": 0xFF,
}  # fmt: skip


def assemble(source: str) -> bytes:
    """The bytes of a contract. Labels take one byte: it must be shorter than 256."""
    code, labels, uses = bytearray(), {}, []
    for word in source.split():
        if word.startswith(":"):
            labels[word[1:]] = len(code)
            code.append(_CODES["JUMPDEST"])
        elif word.startswith("@"):
            code += b"\x60\x00"
            uses.append((len(code) - 1, word[1:]))
        elif word.startswith("0x"):
            literal = bytes.fromhex(word[2:])
            code += bytes([0x5F + len(literal)]) + literal
        else:
            code.append(_CODES[word])
    for at, name in uses:
        code[at] = labels[name]
    return bytes(code)


def init(runtime: bytes) -> bytes:
    """What is sent to create a contract: it copies what follows itself, and returns that."""
    size = len(runtime).to_bytes(2, "big")
    return bytes.fromhex("61") + size + bytes.fromhex("80 600c 6000 39 6000 f3") + runtime


_RETURN_WORD = "0x00 MSTORE 0x20 0x00 RETURN"

#: Answers 42, whatever it is asked.
ANSWER = assemble(f"0x2a {_RETURN_WORD}")

#: Reverts with what it was called with.
REVERT = assemble("CALLDATASIZE 0x00 0x00 CALLDATACOPY CALLDATASIZE 0x00 REVERT")

#: Stores the first word it is called with in slot 0; without call data, returns that slot.
STORE = assemble(
    f"CALLDATASIZE @set JUMPI 0x00 SLOAD {_RETURN_WORD} :set 0x00 CALLDATALOAD 0x00 SSTORE STOP"
)

#: Logs the first word it is called with, that word being the topic too.
LOGGER = assemble("0x00 CALLDATALOAD DUP1 0x00 MSTORE 0x20 0x00 LOG1 STOP")

#: Adds 1 to slot 0, logs the new value with the caller as topic, and returns it.
COUNTER = assemble(
    "0x00 SLOAD 0x01 ADD DUP1 0x00 SSTORE 0x00 MSTORE CALLER 0x20 0x00 LOG1 0x20 0x00 RETURN"
)

#: Calls itself with all the gas it has, until there is none or the depth of 1024 is reached.
RECURSE = assemble("0x00 0x00 0x00 0x00 0x00 ADDRESS GAS CALL STOP")

#: Never ends by itself.
LOOP = assemble(":again @again JUMP")
