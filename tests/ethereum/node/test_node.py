"""What evm_revert restores, the order in a block, and mining many blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import LOGGER
from ethereum.direct import Direct
from npipe.errors import RPCError
from npipe.ethereum.evm import execution
from npipe.rpc.service.api import API

Call = Callable[..., Any]
A = "0x" + "5a" * 20


def settings(call: Call, service: ethereum.Service) -> dict[str, Any]:
    """All that can be set, as the next block or a question shows it."""
    node = service.node
    assert node is not None
    pending = call("eth_getBlockByNumber", "pending", False)
    return {
        "block": {key: pending[key] for key in ("baseFeePerGas", "gasLimit", "mixHash", "number")},
        "coinbase": call("eth_coinbase"),
        "interval": node.chain.clock.interval,
        "offset": node.chain.clock.offset,
        "wanted": node.chain.clock.wanted,
        "automine": call("anvil_getAutomine"),
        "impersonated": set(node.impersonated),
        "all": node.impersonates_all,
        "period": node.interval,
        "balance": call("eth_getBalance", A, "latest"),
        "waiting": call("txpool_status"),
    }


def change_all(call: Call, alice: str, at: int) -> None:
    call("evm_setAutomine", False)
    call("eth_sendTransaction", {"from": alice, "to": A, "value": hex(at)})
    call("anvil_setCoinbase", f"0x{at:040x}")
    call("anvil_setPrevRandao", f"0x{at:064x}")
    call("anvil_setNextBlockBaseFeePerGas", hex(at * 10**9))
    call("evm_setBlockGasLimit", hex(20_000_000 + at))
    call("evm_increaseTime", hex(1000 * at))
    call("anvil_setBlockTimestampInterval", hex(at))
    call("evm_setNextBlockTimestamp", hex(2_000_000_000 + at))
    call("anvil_impersonateAccount", f"0x{at:040x}")
    call("anvil_autoImpersonateAccount", at % 2 == 0)
    call("evm_setIntervalMining", hex(80_000 + at))
    call("anvil_setBalance", A, hex(at))


def test_a_revert_restores_all_that_can_be_set(
    call: Call, service: ethereum.Service, alice: str
) -> None:
    fresh = settings(call, service)
    first = call("evm_snapshot")
    change_all(call, alice, 1)
    changed = settings(call, service)
    assert not {key for key in fresh if fresh[key] == changed[key]} - {"all"}
    second = call("evm_snapshot")
    change_all(call, alice, 2)
    call("evm_mine")
    assert call("evm_revert", second) is True
    assert settings(call, service) == changed
    assert call("evm_revert", first) is True
    assert settings(call, service) == fresh


def test_what_was_undone_is_told_as_removed(
    call: Call, alice: str, deploy: Callable[[bytes], str]
) -> None:
    logger = deploy(LOGGER)
    watched = call("eth_newFilter", {"address": logger})
    snapshot = call("evm_snapshot")
    sent = [
        call("eth_sendTransaction", {"from": alice, "to": logger, "data": f"0x{at:064x}"})
        for at in (1, 2)
    ]
    call("evm_revert", snapshot)
    told = [(int(log["data"], 16), log["removed"]) for log in call("eth_getFilterChanges", watched)]
    assert told == [(1, False), (2, False), (2, True), (1, True)]
    assert [call("eth_getTransactionReceipt", each) for each in sent] == [None, None]
    assert call("eth_getFilterChanges", watched) == []
    assert call("eth_getLogs", {"fromBlock": "earliest", "address": logger}) == []


def test_a_filter_keeps_its_range(call: Call, alice: str, deploy: Callable[[bytes], str]) -> None:
    logger = deploy(LOGGER)  # in block 1
    filters = [
        call("eth_newFilter", {"address": logger, **block_range})
        for block_range in (
            {},
            {"fromBlock": "0x1", "toBlock": "0x1"},
            {"fromBlock": "0x3", "toBlock": "0x3"},
            {"fromBlock": "0x3"},
            {"fromBlock": "earliest", "toBlock": "latest"},
        )
    ]
    for at in (2, 3, 4):
        call("eth_sendTransaction", {"from": alice, "to": logger, "data": f"0x{at:064x}"})
    told = [
        [int(log["data"], 16) for log in call("eth_getFilterChanges", each)] for each in filters
    ]
    assert told == [[2, 3, 4], [], [3], [3, 4], [2, 3, 4]]


def senders_of(call: Call, service: ethereum.Service, fees: list[tuple[int, int]]) -> list[str]:
    """Send one each from as many accounts; return those in the order of the block's."""
    accounts = ["0x" + account.address.hex() for account in service.accounts]
    for account, (cap, tip) in zip(accounts, fees, strict=False):
        request = {"from": account, "to": A, "gas": "0x5208"}
        price = {"maxFeePerGas": hex(cap), "maxPriorityFeePerGas": hex(tip)}
        call("eth_sendTransaction", {**request, **price})
    call("evm_mine")
    block = call("eth_getBlockByNumber", "latest", True)
    return [accounts.index(item["from"]) for item in block["transactions"]]


def test_a_block_is_ordered_by_the_tip_that_is_paid(call: Call, service: ethereum.Service) -> None:
    call("evm_setAutomine", False)
    base = int(call("eth_getBlockByNumber", "pending", False)["baseFeePerGas"], 16)
    fees = [(base + 1, base), (base + 50, 5), (base + 7, base + 7), (base + 50, 5), (base - 1, 1)]
    assert senders_of(call, service, fees) == [2, 1, 3, 0]


def test_what_waited_is_mined_in_order_when_automine_comes_back(
    call: Call, service: ethereum.Service
) -> None:
    accounts = ["0x" + account.address.hex() for account in service.accounts[:6]]
    call("evm_setAutomine", False)
    for number, account in enumerate(accounts):
        fees = {"maxFeePerGas": hex(10**11), "maxPriorityFeePerGas": hex(10**9 + number % 3)}
        call("eth_sendTransaction", {"from": account, "to": A, "gas": "0x5208", **fees})
    call("evm_setAutomine", True)
    blocks = [call("eth_getBlockByNumber", hex(at), True) for at in range(1, 7)]
    assert [accounts.index(block["transactions"][0]["from"]) for block in blocks] == [
        *(2, 5, 1, 4, 0, 3)
    ]


def test_a_price_of_0_is_taken_where_the_base_fee_is_0(call: Call, alice: str) -> None:
    with pytest.raises(RPCError, match="gasPrice must be non-zero"):
        call("eth_sendTransaction", {"from": alice, "to": A, "gasPrice": "0x0"})
    call("anvil_setNextBlockBaseFeePerGas", "0x0")
    call("eth_sendTransaction", {"from": alice, "to": A, "gasPrice": "0x0"})
    assert call("eth_getBlockByNumber", "latest", False)["baseFeePerGas"] == "0x0"


def test_fifty_thousand_blocks_are_no_error(call: Call, service: ethereum.Service) -> None:
    node = service.node
    assert node is not None
    steps = node.mine_many(50_000)
    for _ in range(20):  # each is one turn, after which others are served
        next(steps)
    assert call("eth_blockNumber") == "0x14"
    with pytest.raises(RPCError, match="the limit is"):
        call("anvil_mine", hex(10**9))


def test_a_limit_that_was_set_is_in_force_for_estimates_at_once(call: Call, alice: str) -> None:
    call("evm_setBlockGasLimit", "0x5300")
    with pytest.raises(RPCError, match=r"gas required exceeds allowance \(21248\)"):
        call("eth_estimateGas", {"from": alice, "data": "0x00"})


def test_a_contract_that_is_too_large_is_told_as_that(call: Call, alice: str) -> None:
    request = {"from": alice, "data": "0x61600160006000396160016000f3"}  # 24577 bytes of zeros
    for method in ("eth_estimateGas", "eth_call", "eth_sendTransaction"):
        with pytest.raises(RPCError, match="max code size exceeded"):
            call(method, request)


def test_a_kind_is_made_without_its_list_or_refused(call: Call, alice: str) -> None:
    sent = call("eth_sendTransaction", {"from": alice, "to": A, "type": "0x1"})
    assert call("eth_getTransactionByHash", sent)["type"] == "0x1"
    for kind, words in (("0x3", "blob"), ("0x4", "authorization"), ("0x5", "not supported")):
        with pytest.raises(RPCError, match=words):
            call("eth_sendTransaction", {"from": alice, "to": A, "type": kind})


def test_hex_may_have_a_capital_prefix(call: Call, alice: str) -> None:
    assert call("eth_getBalance", "0X" + alice[2:], "0X0") == call("eth_getBalance", alice, "0x0")


@pytest.mark.parametrize("method", ["anvil_setNonce", "anvil_setBalance", "evm_setBlockGasLimit"])
def test_a_plain_integer_that_is_too_large_is_refused(call: Call, alice: str, method: str) -> None:
    params = [2**256] if method.startswith("evm") else [alice, 2**256]
    with pytest.raises(RPCError) as caught:
        call(method, *params)
    assert caught.value.code == -32602


def test_an_estimate_for_a_transaction_keeps_no_other_client_waiting(
    api: API, service: Any, alice: str, bob: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs beside the chain; the transaction keeps its place among those of all clients."""
    begun, go, order = threading.Event(), threading.Event(), list[str]()
    plain = execution.estimate

    def estimate(*args: Any) -> int:
        begun.set()
        assert go.wait(60)
        return plain(*args)

    monkeypatch.setattr(execution, "estimate", estimate)
    connections = [Direct(api, connection_id=number) for number in range(3)]

    def send(number: int, **given: str) -> None:
        sent = connections[number].call(
            "eth_sendTransaction", {"from": (alice, bob)[number], "to": bob, **given}
        )
        mined = connections[number].call("eth_getTransactionReceipt", sent)
        order.append(mined["blockNumber"])

    first = threading.Thread(target=send, args=(0,))
    first.start()
    assert begun.wait(60)
    second = threading.Thread(target=send, args=(1,), kwargs={"gas": "0x5208"})
    second.start()
    while len(service.node.worker._turns) < 2:
        threading.Event().wait(0.001)  # until it waits, which nothing announces
    assert connections[2].call("eth_blockNumber") == "0x0"
    assert connections[2].call("eth_getBalance", alice, "latest") == hex(10_000 * 10**18)
    go.set()
    for thread in (first, second):
        thread.join(60)
    assert sorted(order) == ["0x1", "0x2"]
    assert (
        connections[2].call("eth_getBlockByNumber", "0x1", True)["transactions"][0]["from"] == alice
    )
