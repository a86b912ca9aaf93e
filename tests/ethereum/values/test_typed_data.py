"""Structured data is hashed and signed as wallets do it: eth-account is asked for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import npipe.ethereum as ethereum
from npipe.errors import RPCError

typed_data = pytest.importorskip(
    "npipe.ethereum.values.typed_data", reason='the chain needs the extra "ethereum"'
)
account = pytest.importorskip("eth_account", reason="it is what ours is compared with")

Call = Callable[..., Any]
DOMAIN = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
CAR = "0x" + "cc" * 20
MAIL: dict[str, Any] = {
    "types": {
        "EIP712Domain": DOMAIN,
        "Person": [{"name": "name", "type": "string"}, {"name": "wallets", "type": "address[]"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person[]"},
            {"name": "grid", "type": "int8[2][]"},
            {"name": "flag", "type": "bool"},
            {"name": "tag", "type": "bytes4"},
            {"name": "body", "type": "bytes"},
        ],
    },
    "primaryType": "Mail",
    "domain": {"name": "Ether Mail", "version": "1", "chainId": 1337, "verifyingContract": CAR},
    "message": {
        "from": {"name": "Cow", "wallets": [CAR, "0x" + "dd" * 20]},
        "to": [{"name": "Bob", "wallets": []}, {"name": "Eve", "wallets": [CAR]}],
        "grid": [[1, -2], [127, -128]],
        "flag": True,
        "tag": "0x01020304",
        "body": "0x1234",
    },
}


def test_a_signature_is_a_wallets(call: Call, service: ethereum.Service, alice: str) -> None:
    signed = account.Account.sign_typed_data(service.accounts[0].key_hex, full_message=MAIL)
    assert call("eth_signTypedData_v4", alice, MAIL) == "0x" + signed.signature.hex()
    import json

    assert call("eth_signTypedData_v4", alice, json.dumps(MAIL)) == "0x" + signed.signature.hex()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"primaryType": "Other"}, "primaryType: 'Other' is not one of the types"),
        ({"types": {}}, "primaryType"),
        ({"types": {"Mail": []}}, "no EIP712Domain"),
        ({"types": {"Mail": 5}}, "types.Mail: expected a list"),
        ({"message": {**MAIL["message"], "flag": 1}}, "Mail.flag: expected true or false"),
        ({"message": {**MAIL["message"], "tag": "0x01"}}, "Mail.tag: expected bytes4"),
        (
            {"message": {**MAIL["message"], "grid": [[1, 2, 3]]}},
            r"Mail.grid: expected a list of 2 int8",
        ),
        ({"message": {**MAIL["message"], "grid": [[1, 128]]}}, "a number of 8 bits"),
        ({"message": {**MAIL["message"], "from": 5}}, "Person: expected an object"),
        ({"domain": {**MAIL["domain"], "verifyingContract": "0x1"}}, "bytes in hex"),
    ],
)
def test_what_contradicts_its_types_is_refused(
    call: Call, alice: str, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(RPCError, match=words) as caught:
        call("eth_signTypedData_v4", alice, {**MAIL, **change})
    assert caught.value.code == -32602


def test_types_that_hold_themselves_end(call: Call, alice: str) -> None:
    value: Any = None
    for _ in range(200):
        value = {"next": value}
    told = {
        "types": {"EIP712Domain": [], "Node": [{"name": "next", "type": "Node"}]},
        "primaryType": "Node",
        "message": value,
    }
    with pytest.raises(RPCError, match="nested more than"):
        call("eth_signTypedData_v4", alice, told)
