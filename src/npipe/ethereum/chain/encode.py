"""Ethereum objects as JSON: blocks, transactions, receipts and logs, as in the execution-apis.

Reads py-evm's objects by attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from npipe.ethereum.evm import blobs
from npipe.ethereum.evm.kinds import kind_of
from npipe.ethereum.values.types import data, quantity, word

if TYPE_CHECKING:
    from npipe.ethereum.chain.block import MinedBlock

__all__ = ["block", "header", "log", "logs", "receipt", "receipts", "transaction", "unsigned"]

JSON = dict[str, Any]


#: Header fields of later forks: the name in JSON, the name in py-evm, and the encoding.
_LATER_FIELDS = (
    ("baseFeePerGas", "base_fee_per_gas", quantity),  # London
    ("withdrawalsRoot", "withdrawals_root", data),  # Shanghai
    ("blobGasUsed", "blob_gas_used", quantity),  # Cancun
    ("excessBlobGas", "excess_blob_gas", quantity),
    ("parentBeaconBlockRoot", "parent_beacon_block_root", data),
    ("requestsHash", "requests_hash", data),  # Prague
)


def header(mined: MinedBlock) -> JSON:
    """Encode a block without its transactions, as newHeads pushes it."""
    head = mined.header
    fields = head.as_dict()
    return {
        "number": quantity(head.block_number),
        "hash": data(head.hash),
        "parentHash": data(head.parent_hash),
        "nonce": data(head.nonce),
        "mixHash": data(head.mix_hash),
        "sha3Uncles": data(head.uncles_hash),
        "logsBloom": f"0x{head.bloom:0512x}",
        "stateRoot": data(head.state_root),
        "transactionsRoot": data(head.transaction_root),
        "receiptsRoot": data(head.receipt_root),
        "miner": data(head.coinbase),
        "difficulty": quantity(head.difficulty),
        "extraData": data(head.extra_data),
        "gasLimit": quantity(head.gas_limit),
        "gasUsed": quantity(head.gas_used),
        "timestamp": quantity(head.timestamp),
        **{
            name: write(getattr(head, field))
            for name, field, write in _LATER_FIELDS
            if field in fields
        },
    }


def block(mined: MinedBlock, size: int, *, full: bool, pending: bool = False) -> JSON:
    """Encode a block with its transactions, as objects or as hashes. ``size`` is that of its RLP.

    A pending block has no hash, nonce and miner; they are null, as in geth.
    """
    transactions = mined.block.transactions
    shape = header(mined)
    shape["size"] = quantity(size)
    shape["uncles"] = [data(uncle.hash) for uncle in mined.block.uncles]
    if "withdrawalsRoot" in shape:
        shape["withdrawals"] = [
            {
                "index": quantity(item.index),
                "validatorIndex": quantity(item.validator_index),
                "address": data(item.address),
                "amount": quantity(item.amount),
            }
            for item in mined.block.withdrawals
        ]
    if full:
        shape["transactions"] = [
            transaction(item, None if pending else mined, index)
            for index, item in enumerate(transactions)
        ]
    else:
        shape["transactions"] = [data(item.hash) for item in transactions]
    if pending:
        shape.update(hash=None, nonce=None, miner=None)
    return shape


def transaction(item: Any, mined: MinedBlock | None = None, index: int = 0) -> JSON:
    """Encode a signed transaction. ``mined`` is its block, or None while it is pending."""
    kind = item.type_id or 0
    shape: JSON = {
        "blockHash": data(mined.hash) if mined else None,
        "blockNumber": quantity(mined.number) if mined else None,
        "blockTimestamp": quantity(mined.header.timestamp) if mined else None,
        "transactionIndex": quantity(index) if mined else None,
        "hash": data(item.hash),
        "from": data(item.sender),
        **_fields(item, kind),
        "gasPrice": quantity(gas_price(item, mined)),
        "r": quantity(item.r),
        "s": quantity(item.s),
    }
    if item.chain_id is not None:
        shape["chainId"] = quantity(item.chain_id)
    if kind == 0:
        shape["v"] = quantity(item.v)
    else:
        shape["v"] = shape["yParity"] = quantity(item.y_parity)
    return shape


def unsigned(item: Any, digest: bytes) -> JSON:
    """Encode a transaction that is not signed yet, as geth does, with its present hash."""
    kind = kind_of(item)
    shape: JSON = {"hash": data(digest), **_fields(item, kind), "gasPrice": None}
    if kind < 2:
        shape["gasPrice"] = quantity(item.gas_price)
    if kind:
        shape |= {"chainId": quantity(item.chain_id), "yParity": "0x0"}
    return shape | dict.fromkeys(("v", "r", "s"), "0x0")


def _fields(item: Any, kind: int) -> JSON:
    """Return the fields of a transaction that depend on its type."""
    shape: JSON = {
        "type": quantity(kind),
        "to": data(item.to) if item.to else None,
        "nonce": quantity(item.nonce),
        "gas": quantity(item.gas),
        "value": quantity(item.value),
        "input": data(item.data),
    }
    if kind >= 1:
        shape["accessList"] = [
            {"address": data(address), "storageKeys": [word(slot) for slot in slots]}
            for address, slots in item.access_list
        ]
    if kind >= 2:
        shape["maxFeePerGas"] = quantity(item.max_fee_per_gas)
        shape["maxPriorityFeePerGas"] = quantity(item.max_priority_fee_per_gas)
    if kind == 3:
        shape["maxFeePerBlobGas"] = quantity(item.max_fee_per_blob_gas)
        shape["blobVersionedHashes"] = [data(each) for each in item.blob_versioned_hashes]
    if kind == 4:
        shape["authorizationList"] = [
            {
                "chainId": quantity(entry.chain_id),
                "address": data(entry.address),
                "nonce": quantity(entry.nonce),
                "yParity": quantity(entry.y_parity),
                "r": quantity(entry.r),
                "s": quantity(entry.s),
            }
            for entry in item.authorization_list
        ]
    return shape


def gas_price(item: Any, mined: MinedBlock | None) -> int:
    """Return the price of a unit of gas: in a block the effective one, before that the maximum."""
    if mined is None or not item.type_id or item.type_id == 1:
        return int(item.max_fee_per_gas)
    base = mined.header.base_fee_per_gas
    return int(min(item.max_fee_per_gas, base + item.max_priority_fee_per_gas))


def receipt(mined: MinedBlock, index: int, first_log: int | None = None) -> JSON:
    """Encode a receipt. ``first_log`` is the index of its first log in the block, if known."""
    item, outcome = mined.block.transactions[index], mined.receipts[index]
    if first_log is None:
        first_log = sum(len(earlier.logs) for earlier in mined.receipts[:index])
    created = mined.created[index]
    blob_gas = blobs.gas_of(item)
    shape: JSON = {
        "type": quantity(item.type_id or 0),
        "transactionHash": data(item.hash),
        "transactionIndex": quantity(index),
        "blockHash": data(mined.hash),
        "blockNumber": quantity(mined.number),
        "from": data(item.sender),
        "to": data(item.to) if item.to else None,
        "contractAddress": data(created) if created else None,
        "cumulativeGasUsed": quantity(outcome.gas_used),
        "gasUsed": quantity(mined.gas_used(index)),
        "effectiveGasPrice": quantity(gas_price(item, mined)),
        "logs": [
            log(mined, index, entry, first_log + place) for place, entry in enumerate(outcome.logs)
        ],
        "logsBloom": f"0x{outcome.bloom:0512x}",
    }
    if len(outcome.state_root) == 32:  # before Byzantium (EIP-658)
        shape["root"] = data(outcome.state_root)
    else:
        shape["status"] = "0x1" if outcome.state_root == b"\x01" else "0x0"
    if blob_gas:
        shape["blobGasUsed"] = quantity(blob_gas)
        shape["blobGasPrice"] = quantity(mined.blobs.base_fee(mined.header.excess_blob_gas))
    return shape


def receipts(mined: MinedBlock) -> list[JSON]:
    """Encode all receipts of a block."""
    shapes, first_log = [], 0
    for index, outcome in enumerate(mined.receipts):
        shapes.append(receipt(mined, index, first_log))
        first_log += len(outcome.logs)
    return shapes


def log(
    mined: MinedBlock, index: int, entry: Any, log_index: int, *, removed: bool = False
) -> JSON:
    """Encode one log of transaction ``index``. ``removed``: its block was removed."""
    return {
        "address": data(entry.address),
        "topics": [word(topic) for topic in entry.topics],
        "data": data(entry.data),
        "blockHash": data(mined.hash),
        "blockNumber": quantity(mined.number),
        "blockTimestamp": quantity(mined.header.timestamp),
        "transactionHash": data(mined.block.transactions[index].hash),
        "transactionIndex": quantity(index),
        "logIndex": quantity(log_index),
        "removed": removed,
    }


def logs(mined: MinedBlock) -> list[tuple[Any, int, int]]:
    """Encode every log of a block: the log, its transaction's index, its index in the block."""
    entries = [
        (entry, index) for index, outcome in enumerate(mined.receipts) for entry in outcome.logs
    ]
    return [(entry, index, place) for place, (entry, index) in enumerate(entries)]
