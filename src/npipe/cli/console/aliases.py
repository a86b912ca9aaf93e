"""The names and defaults of geth's JavaScript console, for its users.

Pure. They apply to dotted names only, and only if the server has no method with that name.
"""

from __future__ import annotations

from typing import Any, Final

from npipe.cli.console.expression import Invocation

__all__ = ["translate"]

ALIASES: Final = {
    "eth_getBlock": "eth_getBlockByNumber",  # or ByHash, depending on its parameter
    "eth_getTransaction": "eth_getTransactionByHash",
    "eth_getRawTransaction": "eth_getRawTransactionByHash",
    "eth_filter": "eth_newFilter",
    "web3_version": "web3_clientVersion",
}
# Methods whose last parameter is a block, and its index: nodes require it, users omit it.
BLOCK_AT: Final = {
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getStorageAt": 2,
    "eth_call": 1,
    "eth_getBlockByNumber": 0,
    "eth_getBlockReceipts": 0,
}
# Methods whose first parameter is an object with numbers, which users write in decimal.
OBJECTS: Final = {
    *("eth_call", "eth_createAccessList", "eth_estimateGas", "eth_fillTransaction"),
    *("eth_getLogs", "eth_newFilter", "eth_sendTransaction", "eth_signTransaction"),
    *("debug_traceCall", "personal_sendTransaction"),
}
HASH_LENGTH: Final = 66  # characters of a 32-byte hash with its 0x


def translate(call: Invocation) -> Invocation:
    """Return ``call`` as a node accepts it: getBlock(5) becomes getBlockByNumber("0x5", false)."""
    method = ALIASES.get(call.method, call.method)
    params = list(call.params)
    if call.method == "eth_getBlock" and params and isinstance(params[0], str):
        method = "eth_getBlockByHash" if len(params[0]) == HASH_LENGTH else method
    if method in ("eth_getBlockByHash", "eth_getBlockByNumber"):
        params = [*(params or ["latest"]), *([False] if len(params) < 2 else [])]
    at = BLOCK_AT.get(method)
    if at is not None and len(params) == at:
        params.append("latest")
    if at is not None and len(params) > at:
        params[at] = _quantity(params[at])
    if method == "eth_getStorageAt" and len(params) > 1:
        params[1] = _quantity(params[1])
    if method in OBJECTS and params and isinstance(params[0], dict):
        params[0] = {name: _quantity(value) for name, value in params[0].items()}
    return Invocation(method, params, call.path, call.dotted)


def _quantity(value: Any) -> Any:
    """Return a number as a quantity of Ethereum."""
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return hex(value) if number else value
