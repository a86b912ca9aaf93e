"""Transactions and calls of every kind that two nodes are given, to be compared.

A name in ``$`` is an address that each node has of its own (``tests/ethereum/nodes.py``). Contracts
are written in the EVM's instructions and put at fixed addresses by state overrides, so that both
nodes run the same bytes at the same places.
"""

from __future__ import annotations

from typing import Any

from ethereum.contracts import COUNTER, LOGGER, RECURSE, REVERT, assemble, init

__all__ = ["CALLS", "TRACERS", "needed"]

_RETURN = "0x00 MSTORE 0x20 0x00 RETURN"
_DATA = "0x08c379a0" + f"{32:064x}" + f"{3:064x}" + b"why".hex().ljust(64, "0")


def place(number: int) -> str:
    """The address of a contract of this suite."""
    return f"0x{0xC0DE0000 + number:040x}"


def call_to(target: str, how: str = "CALL", value: str = "0x00", gas: str = "GAS") -> str:
    """Instructions that call an address with no data, leaving whether it went well."""
    given = f"{value} " if how in ("CALL", "CALLCODE") else ""
    return f"0x20 0x00 0x00 0x00 {given}{target} {gas} {how}"


def create_of(code: bytes, how: str = "CREATE", value: str = "0x00") -> str:
    """Instructions that create a contract with up to 32 bytes of code for its creation."""
    assert len(code) <= 32
    salt = "0x05 " if how == "CREATE2" else ""
    start = 32 - len(code)
    return f"0x{code.hex()} 0x00 MSTORE {salt}0x{len(code):02x} 0x{start:02x} {value} {how}"


_BIG = bytes.fromhex("61600160006000396160016000f3")  # returns 24577 bytes
_EF = bytes.fromhex("60ef60005360016000f3")  # returns 0xef
_EXPENSIVE = bytes.fromhex("6160006000f3")  # returns 24576 bytes, of 200 gas each
_REVERTING = bytes.fromhex("600060fd60005260206000fd")
_GOOD = bytes.fromhex("602a60005360016000f3")

_SOURCES: dict[str, str] = {
    "stop": "STOP",
    "answer": f"0x2a {_RETURN}",
    "sum": f"0x20 CALLDATALOAD 0x00 CALLDATALOAD ADD {_RETURN}",
    "caller": f"CALLER {_RETURN}",
    "value": f"CALLVALUE {_RETURN}",
    "self": f"ADDRESS {_RETURN}",
    "invalid": "INVALID",
    "undefined": "0x01 0x02 ADD POP UNDEFINED",
    "jump": "0x00 JUMP",
    "jump into data": "0x03 JUMP 0x5b STOP",
    "underflow": "0x01 ADD",
    "overflow": ":again 0x01 @again JUMP",
    "out of gas": ":again @again JUMP",
    "memory": "0x01 0xffffff MSTORE STOP",
    "return data": "0x20 0x00 0x00 RETURNDATACOPY",
    "store": "0x05 0x01 SSTORE 0x01 SLOAD " + _RETURN,
    "store and clear": "0x05 0x01 SSTORE 0x00 0x01 SSTORE STOP",
    "transient": "0x07 0x01 TSTORE 0x01 TLOAD " + _RETURN,
    "logs": "0x01 0x02 0x20 0x00 LOG2 0x20 0x00 LOG0 STOP",
    "revert empty": "0x00 0x00 REVERT",
    "static write": f"{call_to(place(15), 'STATICCALL')} {_RETURN}",
    "static log": f"{call_to(place(18), 'STATICCALL')} {_RETURN}",
    "static call with value": f"{call_to(place(24), 'STATICCALL')} {_RETURN}",
    "static create": f"{call_to(place(35), 'STATICCALL')} {_RETURN}",
    "call with value": f"{call_to(place(0), value='0x01')} {_RETURN}",
    "call poor": f"{call_to(place(0), value='0xffffffffffffffffff')} {_RETURN}",
    "call reverted": f"{call_to('$revert_at')} {_RETURN}",
    "call of nobody": f"{call_to('0x' + '77' * 20)} {_RETURN}",
    "call with little gas": f"{call_to(place(15), gas='0x64')} {_RETURN}",
    "delegate": f"{call_to(place(3), 'DELEGATECALL')} POP 0x20 0x00 RETURN",
    "delegate to store": f"{call_to(place(15), 'DELEGATECALL')} {_RETURN}",
    "callcode": f"{call_to(place(3), 'CALLCODE', value='0x01')} POP 0x20 0x00 RETURN",
    "callcode poor": f"{call_to(place(3), 'CALLCODE', value='0xffffffffffffffffff')} {_RETURN}",
    "precompile": f"{call_to('0x04')} {_RETURN}",
    "precompile that fails": f"{call_to('0x09')} {_RETURN}",
    "create": f"{create_of(_GOOD)} {_RETURN}",
    "create poor": f"{create_of(_GOOD, value='0xffffffffffffffffff')} {_RETURN}",
    "create too large": f"{create_of(_BIG)} {_RETURN}",
    "create reserved": f"{create_of(_EF)} {_RETURN}",
    "create expensive": f"{create_of(_EXPENSIVE)} {_RETURN}",
    "create reverted": f"{create_of(_REVERTING)} {_RETURN}",
    "create twice": f"{create_of(_GOOD, 'CREATE2')} POP {create_of(_GOOD, 'CREATE2')} {_RETURN}",
    "create and destroy": f"{create_of(bytes.fromhex('33ff'), value='0x01')} {_RETURN}",
    "selfdestruct": "CALLER SELFDESTRUCT",
    "selfdestruct to itself": "ADDRESS SELFDESTRUCT",
    "static selfdestruct": f"{call_to(place(43), 'STATICCALL')} {_RETURN}",
    "logs around a call": (
        f"0x00 0x00 LOG0 {call_to(place(18))} POP 0x20 0x00 LOG0 {call_to(place(48))} {_RETURN}"
    ),
    "copies": (
        "0x20 0x00 0x00 CALLDATACOPY 0x20 0x00 0x20 CODECOPY 0x10 0x05 0x40 MCOPY "
        "0x20 0x00 0x60 0x04 EXTCODECOPY 0x80 0x00 RETURN"
    ),
    "log and revert": "0x00 0x00 LOG0 0x00 0x00 REVERT",
    "ask about accounts": (
        f"0x2a BALANCE 0x2b EXTCODESIZE 0x{place(1)[2:]} EXTCODEHASH ADD ADD {_RETURN}"
    ),
    # Of a block that neither node has: the number and hash of the head differ between the two.
    "hash of a block": f"0xffffff BLOCKHASH {_RETURN}",
    "forward": "0x00 0x00 0x00 0x00 CALLVALUE 0x2a GAS CALL STOP",
    "deep": "",
    "counter": "",
    "logger": "",
    "revert": "",
    "delegated": "",
    "call of a delegate": f"{call_to(place(56))} {_RETURN}",
    "delegate of a delegate": f"{call_to(place(56), 'DELEGATECALL')} {_RETURN}",
    "callcode of a delegate": f"{call_to(place(56), 'CALLCODE')} {_RETURN}",
}
_NAMES = list(_SOURCES)
_CODES = {
    "deep": RECURSE,
    "counter": COUNTER,
    "logger": LOGGER,
    "revert": REVERT,
    "delegated": bytes.fromhex("ef0100" + place(1)[2:]),
}


def _code(name: str) -> bytes:
    if name in _CODES:
        return _CODES[name]
    source = _SOURCES[name].replace("$revert_at", place(_NAMES.index("revert empty")))
    return assemble(source)


#: What both nodes pretend: the code of each contract, and some money in it.
CONTRACTS: dict[str, Any] = {
    place(number): {"code": "0x" + _code(name).hex(), "balance": "0x64", "nonce": "0x1"}
    for number, name in enumerate(_NAMES)
}


def needed(request: dict[str, Any]) -> dict[str, Any]:
    """The contracts that a call reaches: its target, and what is named in the code of those."""
    found: dict[str, Any] = {}
    waiting = [request.get("to", "")]
    while waiting:
        address = waiting.pop()
        if address in CONTRACTS and address not in found:
            found[address] = CONTRACTS[address]
            code = CONTRACTS[address]["code"]
            waiting.extend(each for each in CONTRACTS if each[2:] in code)
    return found


_SENDER = {"from": "$me", "gas": "0x30d40"}
CALLS: dict[str, dict[str, Any]] = {
    **{name: {**_SENDER, "to": place(number)} for number, name in enumerate(_NAMES)},
    "sum with data": {**_SENDER, "to": place(2), "data": "0x" + f"{5:064x}{6:064x}"},
    "value given": {**_SENDER, "to": place(4), "value": "0x7"},
    "revert with a reason": {**_SENDER, "to": place(_NAMES.index("revert")), "data": _DATA},
    "revert with bytes": {**_SENDER, "to": place(_NAMES.index("revert")), "data": "0x1234"},
    "deploy": {**_SENDER, "data": "0x" + init(COUNTER).hex()},
    "deploy too large": {**_SENDER, "data": "0x" + _BIG.hex()},
    "deploy reserved": {**_SENDER, "data": "0x" + _EF.hex()},
    "deploy expensive": {**_SENDER, "data": "0x" + _EXPENSIVE.hex()},
    "deploy reverted": {**_SENDER, "data": "0x" + _REVERTING.hex()},
    "deploy nothing": {**_SENDER, "data": "0x00"},
    "deploy and selfdestruct": {**_SENDER, "data": "0x33ff", "value": "0x5"},
    "transfer": {**_SENDER, "to": "0x" + "5a" * 20, "value": "0x7"},
    "transfer with data": {**_SENDER, "to": "0x" + "5a" * 20, "data": "0x" + "11" * 40},
    "access list": {
        **_SENDER,
        "to": place(15),
        "accessList": [{"address": place(15), "storageKeys": ["0x" + f"{1:064x}"]}],
    },
    "ecrecover of nothing": {**_SENDER, "to": f"0x{1:040x}"},
    "identity": {**_SENDER, "to": f"0x{4:040x}", "data": "0x112233"},
}

TRACERS: dict[str, dict[str, Any]] = {
    "call": {"tracer": "callTracer"},
    "call with logs": {"tracer": "callTracer", "tracerConfig": {"withLog": True}},
    "top call with logs": {
        "tracer": "callTracer",
        "tracerConfig": {"onlyTopCall": True, "withLog": True},
    },
    "4byte": {"tracer": "4byteTracer"},
    "noop": {"tracer": "noopTracer"},
    "prestate": {"tracer": "prestateTracer"},
    "prestate without": {
        "tracer": "prestateTracer",
        "tracerConfig": {"disableCode": True, "disableStorage": True},
    },
    "prestate with empty": {"tracer": "prestateTracer", "tracerConfig": {"includeEmpty": True}},
    "difference": {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}},
    "steps": {"enableMemory": True, "enableReturnData": True},
    "steps without": {"disableStack": True, "disableStorage": True},
}
