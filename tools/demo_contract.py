"""A contract small enough to be read as bytes: a counter with one event.

In Solidity's words:

    contract Counter {
        uint256 public count;
        event Counted(address indexed who, uint256 count);
        function increment() external { emit Counted(msg.sender, ++count); }
    }

No compiler is needed for the demonstration, nor kept in step with it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ABI", "BYTECODE"]

_RUNTIME = bytes.fromhex(
    "600035 60e01c"  # the first four bytes of the call data say which function is asked for
    "80 6306661abd 14 601e 57"  # count(): jump to 0x1e
    "63d09de08a 14 602a 57"  # increment(): jump to 0x2a
    "6000 6000 fd"  # anything else: revert
    "5b 6000 54 6000 52 6020 6000 f3"  # 0x1e: return the word in slot 0
    "5b 6000 54 6001 01 80 6000 55 6000 52"  # 0x2a: add 1 to it, and put it into memory too
    "33 7f661fab7f24b9fdb6d088a46b82c477922b83ae7f1de8173a4670c3802fc6f921"  # the event's hash
    "6020 6000 a2 00"  # log the memory, with that hash and the caller as topics; stop
)

#: What is sent to create the contract: it copies what follows these 11 bytes, and returns it.
BYTECODE = bytes([0x60, len(_RUNTIME)]) + bytes.fromhex("80 600b 6000 39 6000 f3") + _RUNTIME

ABI: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "count",
        "stateMutability": "view",
        "inputs": [],
        "outputs": [{"name": "", "type": "uint256"}],
    },
    {
        "type": "function",
        "name": "increment",
        "stateMutability": "nonpayable",
        "inputs": [],
        "outputs": [],
    },
    {
        "type": "event",
        "name": "Counted",
        "anonymous": False,
        "inputs": [
            {"name": "who", "type": "address", "indexed": True},
            {"name": "count", "type": "uint256", "indexed": False},
        ],
    },
]
