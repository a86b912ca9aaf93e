"""Calls that geth refuses are refused with the same message: each is sent to both.

Code, message and revert data must be equal. What depends on the node's own numbers (its gas cap,
its block's gas limit, its base fee) is compared without these.
"""

from __future__ import annotations

from typing import Any

import pytest

from ethereum.nodes import Node
from npipe.ethereum.values.types import TransactionRequest, data

transactions = pytest.importorskip(
    "npipe.ethereum.chain.transactions", reason='the chain needs the extra "ethereum"'
)

A, H = "0x" + "11" * 20, "0x" + "22" * 32  # an account and a hash that nobody has
NO_BLOCK = "0xfffff"
REASON = "0x08c379a0" + f"{32:064x}" + f"{3:064x}" + b"why".hex().ljust(64, "0")
PANIC = "0x4e487b71" + f"{0x11:064x}"
BIG_INIT = "0x" + "00" * 50_000


def raw(
    fees: tuple[int, int | None] = (10**10, 10**9),
    *,
    nonce: int = 0,
    gas: int = 21_000,
    chain_id: int = 1337,
    to: str | None = A,
    **fields: Any,
) -> str:
    """A transaction signed by somebody who has no money."""
    from eth_keys import keys

    request = TransactionRequest(to=to, **fields)
    unsigned = transactions.unsigned(request, chain_id=chain_id, nonce=nonce, gas=gas, fees=fees)
    signed = transactions.sign(unsigned, keys.PrivateKey(b"\x07" * 32), chain_id)
    return data(signed.encode())


def each(method: str, *all_params: Any) -> list[tuple[str, Any]]:
    return [(method, list(params)) for params in all_params]


def requests(method: str, *all_requests: Any) -> list[tuple[str, Any]]:
    return [(method, [request]) for request in all_requests]


BAD_ADDRESSES = [A[2:], "0x123", "0x12", 1, None, {}, "", "0x" + "zz" * 20, A + "11"]
BAD_HASHES = [H[2:], "0x12", "0x123", 5, None, [], "latest"]
BAD_BLOCKS = [
    *("bogus", "5", "0x", "", "0xzz", "0x" + "f" * 18, "0x" + "f" * 16, [], True, NO_BLOCK, H),
    *({}, {"foo": "0x12"}, {"blockHash": "0x12"}, {"blockHash": H}, {"blockNumber": NO_BLOCK}),
    {"blockHash": H, "blockNumber": "0x1"},
]
PARAMETERS = [
    *each("eth_getBalance", [], [A, "latest", 1], *([bad, "latest"] for bad in BAD_ADDRESSES)),
    *each("eth_getBalance", *([A, bad] for bad in BAD_BLOCKS)),
    *each("eth_getCode", [], [A, NO_BLOCK]),
    *each("eth_getTransactionCount", [], [A, NO_BLOCK]),
    *each("eth_getStorageAt", [A], [A, "zz", "latest"], [A, "0x" + "0" * 65, "latest"]),
    *each("eth_getStorageAt", [A, 0, "latest"], [A, "0x0", NO_BLOCK]),
    *each("eth_getProof", [], [A], [A, [], NO_BLOCK], [A, ["zz"], "latest"], [A, "x", "latest"]),
    *each("eth_getBlockByNumber", [], ["latest", "yes"], ["latest", 1], ["latest", True, 1]),
    *each("eth_getBlockByNumber", ["bogus", True], ["0xzz", True], ["", True]),
    *each("eth_getBlockByHash", [], *([bad, True] for bad in BAD_HASHES)),
    *each("eth_getTransactionByHash", [], ["0x12"], [[]]),
    *each("eth_getTransactionReceipt", [], [H, 1]),
    *each("eth_getBlockReceipts", [], [], ["x"]),
    *each(
        "eth_getTransactionByBlockNumberAndIndex",
        *(["latest"], ["latest", "0"], ["latest", "0x"], ["latest", "0xffffffffffffffffff"]),
    ),
    *each("eth_chainId", [1]),
    *each("eth_accounts", [1, 2]),
    *each("net_version", [1]),
    *each("web3_sha3", [], ["abc"], ["0x1"], [5], [None]),
    *each("txpool_contentFrom", [], ["0x1"]),
    *each("eth_sign", [], ["$me"], ["$me", "abc"], [A, "0x12"]),
]
REQUESTS = [
    *each("eth_call", [], ["0x"], [[]], [5]),
    *requests("eth_call", {"to": "0x12"}, {"to": "bob"}, {"to": 5}, {"to": A, "from": "0x1"}),
    *requests("eth_call", *({"to": A, "data": bad} for bad in ("0x123", "123", "0xzz", 5))),
    *requests(
        "eth_call", *({"to": A, "value": bad} for bad in ("1", "0x", "0x" + "f" * 65, "0xg"))
    ),
    *requests("eth_call", *({"to": A, "gas": bad} for bad in ("0x" + "f" * 17, -1, "abc", True))),
    *requests("eth_call", {"to": A, "input": "0x1"}, {"to": A, "gasPrice": "12"}),
    *requests("eth_call", {"to": A, "accessList": "x"}, {"to": A, "accessList": {}}),
    *requests("eth_call", {"to": A, "accessList": [{"address": "0x1"}]}),
    *requests("eth_call", {"to": A, "accessList": [{"address": A, "storageKeys": ["0x1"]}]}),
    *each("eth_call", [{"to": A}, "latest", []], [{"to": A}, "latest", {"x": {}}]),
    *each("eth_call", [{"to": A}, "latest", {A: 5}], [{"to": A}, "latest", {A: {"code": "0x1"}}]),
    *each("eth_call", [{"to": A}, "latest", {A: {"balance": "1"}}]),
    *each("eth_call", [{"to": A}, "latest", {A: {"state": {}, "stateDiff": {}}}]),
    *requests("eth_call", {"to": A, "chainId": "0x99"}),
    *requests("eth_call", {"to": A, "gasPrice": "0x1", "maxFeePerGas": "0x1"}),
    *requests("eth_call", {"to": A, "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"}),
]
EXECUTION = [
    *each("eth_call", [{"to": "$answer"}, NO_BLOCK], [{"to": "$answer"}, H]),
    *requests("eth_call", *({"to": "$revert", "data": sent} for sent in ("0x", REASON, PANIC))),
    *requests("eth_call", {"to": "$revert", "data": "0x12345678"}),
    *requests("eth_call", {"to": "$revert", "data": REASON[:100]}),
    *requests("eth_call", {"to": "$loop", "gas": "0x186a0"}, {"to": "$invalid"}, {"to": "$jump"}),
    *requests("eth_call", {"data": "0x0c"}, {"data": "0x60ef60005360016000f3"}),
    *requests("eth_call", {"data": BIG_INIT}, {"to": A, "gasPrice": "0x1"}),
    *requests("eth_call", {"from": A, "to": A, "value": "0x1"}, {"to": "$answer", "gas": "0x1"}),
    *requests("eth_call", {"from": A, "to": A, "gas": "0x5208", "gasPrice": "0x77359400"}),
    *requests("eth_estimateGas", {"to": "$revert"}, {"to": "$revert", "data": REASON}),
    *requests("eth_estimateGas", {"from": A, "to": A, "value": "0x1"}, {"to": "$jump"}),
    *requests("eth_estimateGas", {"from": A, "to": A, "gasPrice": "0x77359400"}),
    *requests("eth_estimateGas", {"to": "$loop", "gas": "0x186a0"}),
    *requests("eth_estimateGas", {"to": "$answer", "gas": "0x5208"}, {"data": BIG_INIT}),
    *each("eth_estimateGas", [], [{"to": "$answer"}, NO_BLOCK]),
    *each("eth_createAccessList", [], [{"to": "$answer"}, NO_BLOCK]),
]
SENDING = [
    *requests("eth_sendTransaction", {}, {"from": A, "to": A}, {"from": "$me"}),
    *requests("eth_sendTransaction", {"from": "$me", "to": A, "nonce": "0x0"}),
    *requests("eth_sendTransaction", {"from": "$me", "to": A, "gas": "0x1"}),
    *requests("eth_sendTransaction", {"from": "$me", "to": "$revert", "data": REASON}),
    *requests("eth_sendTransaction", {"from": "$me", "to": A, "data": "0x12", "input": "0x13"}),
    *requests("eth_sendTransaction", {"from": "$me", "to": A, "chainId": "0x99"}),
    *requests("eth_sendTransaction", {"from": "$me", "to": A, "gasPrice": "0x0"}),
    *requests(
        "eth_sendTransaction",
        {"from": "$me", "to": A, "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"},
    ),
    *requests("eth_sendTransaction", {"from": "$me", "data": BIG_INIT}),
    *requests("eth_signTransaction", {"from": "$me", "to": A}),
    *requests("eth_signTransaction", {"from": "$me", "to": A, "gas": "0x5208"}),
    *requests(
        "eth_signTransaction",
        {"from": "$me", "to": A, "gas": "0x5208", "gasPrice": "0x77359400"},
        {"from": A, "to": A, "gas": "0x5208", "gasPrice": "0x77359400", "nonce": "0x0"},
    ),
    *each("eth_sendRawTransaction", [], [5]),
    *requests("eth_sendRawTransaction", "0x", "0x12", "12", "0x1", "0xzz", "0x00", "0x7fc0"),
    *requests("eth_sendRawTransaction", "0xc0", "0xf8", "0xf86c", "0xc3010203", "0x01c0", "0x02c0"),
    *requests("eth_sendRawTransaction", "0x03", "0x03c0", "0x03c101", "0x03c3010203"),
    *requests("eth_sendRawTransaction", raw(), raw((10**10, None)), raw(value="0x1")),
    *requests("eth_sendRawTransaction", raw(gas=20_999), raw(data="0x" + "11" * 1_000, gas=40_000)),
    *requests("eth_sendRawTransaction", raw(chain_id=5), raw((10**10, None), chain_id=5)),
    *requests("eth_sendRawTransaction", raw()[:-2], raw() + "00"),
    *requests("eth_sendRawTransaction", raw(to=None, data=BIG_INIT, gas=10**7)),
]
OTHERS = [
    *each("eth_feeHistory", [], ["0x1"], ["0x1", NO_BLOCK, []], ["0x1", "latest", ["a"]]),
    *each("eth_feeHistory", *(["0x1", "latest", bad] for bad in ([101], [50, 10], [5, 5], [-1]))),
    *each("eth_feeHistory", ["0x1", "latest", [1] * 101]),
    *each("eth_getLogs", [], ["x"]),
    *requests(
        "eth_getLogs", *({"address": bad} for bad in ("0x1", 5, ["0x1"], "0x12", [A] * 1001))
    ),
    *requests("eth_getLogs", *({"topics": bad} for bad in (["0x1"], [5], "x", [H] * 5, [[5]]))),
    *requests("eth_getLogs", {"fromBlock": "0x5", "toBlock": "0x1"}, {"fromBlock": "bogus"}),
    *requests("eth_getLogs", {"fromBlock": NO_BLOCK}, {"blockHash": H}, {"blockHash": "0x1"}),
    *requests("eth_getLogs", {"blockHash": H, "fromBlock": "0x1"}),
    *requests("eth_newFilter", {"topics": ["0x1"]}, {"fromBlock": "0x5", "toBlock": "0x1"}),
    *each("eth_getFilterChanges", [], ["0x1"]),
    *each("eth_getFilterLogs", ["0x1"]),
    *each("eth_subscribe", ["bogus"], ["newHeads", 1], ["logs", {"topics": ["0x1"]}], ["logs", 5]),
    *each("eth_subscribe", ["newPendingTransactions", "x"], [], [5], [None], [[]], [{}]),
    *each("eth_unsubscribe", ["0x1"], [], [None], ["0x1", 1]),
    *each("eth_resend", [None], [{"from": "$me"}]),
    *each("debug_traceTransaction", [], ["0x1"], [H]),
    *each("debug_traceBlockByNumber", [NO_BLOCK], ["0x0"]),
    *each("debug_traceBlockByHash", [H]),
    *each("debug_getRawBlock", [], ["x"]),
    *each("eth_noSuchMethod", []),
    *each("foo", []),
    *each("foo_bar", []),
]
#: To geth null is no value of its own but the zero of what is wanted: this may be an error or not.
NULLS = [
    *each("eth_getBalance", [None, "latest"], [A, None]),
    *each("eth_getCode", [None, "latest"], [A, None]),
    *each("eth_getTransactionCount", [None, "latest"], [A, None]),
    *each("eth_getStorageAt", [None, "0x0", "latest"], [A, None, "latest"], [A, "0x0", None]),
    *each("eth_getProof", [None, [], "latest"], [A, None, "latest"], [A, [None], "latest"]),
    *each("eth_getProof", [A, [], None]),
    *each("eth_getBlockByNumber", [None, True], ["latest", None]),
    *each("eth_getBlockByHash", [None, True], [H, None]),
    *each("eth_getHeaderByNumber", [None]),
    *each("eth_getBlockReceipts", [None]),
    *each("eth_getBlockTransactionCountByNumber", [None]),
    *each("eth_getTransactionByBlockNumberAndIndex", [None, "0x0"], ["latest", None]),
    *each("eth_getTransactionByHash", [None]),
    *each("eth_getTransactionReceipt", [None]),
    *each("eth_call", [None], [None, None], [{"to": A}, None, None, None]),
    *each("eth_estimateGas", [None], [{"to": A}, None, None, None]),
    *each("eth_sendTransaction", [None]),
    *each("eth_signTransaction", [None]),
    *each("eth_sendRawTransaction", [None]),
    *each("eth_sign", [None, "0x12"], ["$me", None]),
    *each("eth_feeHistory", [None, "latest", []], ["0x1", None, []], ["0x1", "latest", None]),
    *each("eth_feeHistory", ["", "latest", []], ["5", "latest", []], ["zz", "latest", []]),
    *each("eth_getLogs", [None]),
    *each("eth_newFilter", [None]),
    *each("eth_newPendingTransactionFilter", [None]),
    *each("eth_getFilterChanges", [None], [5]),
    *each("eth_getFilterLogs", [None]),
    *each("eth_uninstallFilter", [None], [True]),
    *each("debug_traceBlockByNumber", [None], [{}], ["latest", 5]),
    *each("debug_traceCall", [None, "latest"], [{"to": A}, None], [{"to": A}, "latest", None]),
    *each(
        "debug_traceCall",
        *(
            [{"to": A}, "latest", {"timeout": text}]
            for text in ("", "abc", "5", "5x", "--5s", "5s3", "10s", "1m0.5s")
        ),
    ),
    *each("debug_getRawBlock", [None]),
    *each("debug_getRawHeader", [None]),
    *each("debug_getRawReceipts", [None]),
    *each("txpool_contentFrom", [None]),
]
CASES = [*PARAMETERS, *REQUESTS, *EXECUTION, *SENDING, *OTHERS]


#: What this geth says otherwise than today's specification, by method: code, and words.
TODAY = {
    "eth_getLogs": {(-32000, "invalid block range params"): (-32602, "invalid block range params")},
    "eth_newFilter": {
        (-32000, "invalid block range params"): (-32602, "invalid block range params")
    },
    "eth_getStorageAt": {
        (-32000, "unable to decode storage key: hex string invalid"): (
            -32602,
            'invalid hex in storage key: "zz"',
        ),
        (-32000, "unable to decode storage key: hex string too long, want at most 32 bytes"): (
            -32602,
            f'storage key too long (want at most 32 bytes): "0x{"0" * 65}"',
        ),
    },
    "eth_getProof": {
        (-32000, "hex string invalid"): (-32602, 'invalid hex in storage key: "zz"'),
    },
}


def today(method: str, error: Any) -> Any:
    """What geth says, as the specification has it today."""
    code, message, octets = error
    return (*TODAY.get(method, {}).get((code, message), (code, message)), octets)


def name(value: Any) -> str:
    return str(value).replace(A, "A").replace(H, "H")[:60]


@pytest.mark.parametrize(("method", "params"), CASES, ids=name)
def test_it_is_refused_in_the_same_words(
    theirs: Node, ours: Node, method: str, params: Any
) -> None:
    assert ours.error(method, params) == today(method, theirs.error(method, params))


@pytest.mark.parametrize(("method", "params"), NULLS, ids=name)
def test_null_is_what_it_is_to_geth(theirs: Node, ours: Node, method: str, params: Any) -> None:
    assert ours.outcome(method, params) == theirs.outcome(method, params)
