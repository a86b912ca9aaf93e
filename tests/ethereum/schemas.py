"""JSON schemas of what Ethereum's methods return, after the execution-apis specification.

Written for these tests: no package of that project was found to take the data from, on npm or as a
Go module. Each of its methods that is served has a schema here; test_execution_apis counts them.
"""

from __future__ import annotations

from typing import Any

__all__ = ["METHODS"]

Schema = dict[str, Any]


def _text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(required: Schema, optional: Schema | None = None, *, closed: bool = True) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": not closed,
    }


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [{"type": "null"}, schema]}


UINT = _text("0x(0|[1-9a-f][0-9a-f]*)")
BYTES = _text("0x([0-9a-f]{2})*")
HASH = _text("0x[0-9a-f]{64}")
ADDRESS = _text("0x[0-9a-fA-F]{40}")
BLOOM = _text("0x[0-9a-f]{512}")
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
FALSE = {"const": False}
TEXT = {"type": "string"}

ACCESS_LIST = _list(_object({"address": ADDRESS, "storageKeys": _list(HASH)}))
AUTHORIZATION = _object(
    {"chainId": UINT, "nonce": UINT, "address": ADDRESS, "yParity": UINT, "r": UINT, "s": UINT}
)

_ANY_TRANSACTION = {
    "nonce": UINT,
    "to": _or_null(ADDRESS),
    "gas": UINT,
    "value": UINT,
    "input": BYTES,
    "gasPrice": UINT,
    "r": UINT,
    "s": UINT,
}
_TYPED = {"chainId": UINT, "yParity": UINT, "accessList": ACCESS_LIST}
_FEES = {"maxFeePerGas": UINT, "maxPriorityFeePerGas": UINT}
_PLACE = {
    "blockHash": HASH,
    "blockNumber": UINT,
    "blockTimestamp": UINT,
    "transactionIndex": UINT,
    "from": ADDRESS,
    "hash": HASH,
}


def _transaction(place: Schema) -> Schema:
    """One of the five kinds, each with exactly its own fields."""
    common = {**place, **_ANY_TRANSACTION}
    old = _object({**common, "type": {"const": "0x0"}, "v": UINT}, {"chainId": UINT})
    listed = {**common, **_TYPED}
    kinds = [
        old,
        _object({**listed, "type": {"const": "0x1"}}, {"v": UINT}),
        _object({**listed, **_FEES, "type": {"const": "0x2"}}, {"v": UINT}),
        _object(
            {
                **listed,
                **_FEES,
                "type": {"const": "0x3"},
                "maxFeePerBlobGas": UINT,
                "blobVersionedHashes": _list(HASH, minItems=1),
            },
            {"v": UINT},
        ),
        _object(
            {
                **listed,
                **_FEES,
                "type": {"const": "0x4"},
                "authorizationList": _list(AUTHORIZATION, minItems=1),
            },
            {"v": UINT},
        ),
    ]
    return {"oneOf": kinds}


TRANSACTION = _transaction(_PLACE)
_NOWHERE = {"blockHash", "blockNumber", "blockTimestamp", "transactionIndex"}
PENDING = _transaction({k: {"type": "null"} if k in _NOWHERE else v for k, v in _PLACE.items()})

LOG = _object(
    {
        "address": ADDRESS,
        "topics": _list(HASH, maxItems=4),
        "data": BYTES,
        "blockHash": HASH,
        "blockNumber": UINT,
        "transactionHash": HASH,
        "transactionIndex": UINT,
        "logIndex": UINT,
        "removed": BOOLEAN,
    },
    {"blockTimestamp": UINT},
)
RECEIPT = _object(
    {
        "type": UINT,
        "status": {"enum": ["0x0", "0x1"]},
        "transactionHash": HASH,
        "transactionIndex": UINT,
        "blockHash": HASH,
        "blockNumber": UINT,
        "from": ADDRESS,
        "to": _or_null(ADDRESS),
        "contractAddress": _or_null(ADDRESS),
        "cumulativeGasUsed": UINT,
        "gasUsed": UINT,
        "effectiveGasPrice": UINT,
        "logs": _list(LOG),
        "logsBloom": BLOOM,
    },
    {"blobGasUsed": UINT, "blobGasPrice": UINT},
)
HEADER_FIELDS = {
    "number": UINT,
    "hash": HASH,
    "parentHash": HASH,
    "nonce": _text("0x[0-9a-f]{16}"),
    "mixHash": HASH,
    "sha3Uncles": HASH,
    "logsBloom": BLOOM,
    "stateRoot": HASH,
    "transactionsRoot": HASH,
    "receiptsRoot": HASH,
    "miner": ADDRESS,
    "difficulty": UINT,
    "extraData": BYTES,
    "gasLimit": UINT,
    "gasUsed": UINT,
    "timestamp": UINT,
    "baseFeePerGas": UINT,
    "withdrawalsRoot": HASH,
    "blobGasUsed": UINT,
    "excessBlobGas": UINT,
    "parentBeaconBlockRoot": HASH,
    "requestsHash": HASH,
}
BLOCK = _object(
    {
        **HEADER_FIELDS,
        "size": UINT,
        "uncles": _list(HASH, maxItems=0),
        "withdrawals": _list({}, maxItems=0),
        "transactions": {"anyOf": [_list(HASH), _list(TRANSACTION)]},
    }
)
FEES = _object(
    {
        "oldestBlock": UINT,
        "baseFeePerGas": _list(UINT),
        "gasUsedRatio": _list({"type": "number", "minimum": 0, "maximum": 1}),
        "baseFeePerBlobGas": _list(UINT),
        "blobGasUsedRatio": _list(NUMBER),
    },
    {"reward": _list(_list(UINT))},
)
PROOF = _object(
    {
        "address": ADDRESS,
        "accountProof": _list(BYTES, minItems=1),
        "balance": UINT,
        "nonce": UINT,
        "codeHash": HASH,
        "storageHash": HASH,
        "storageProof": _list(_object({"key": UINT, "value": UINT, "proof": _list(BYTES)})),
    }
)
STEPS = _object(
    {
        "gas": {"type": "integer"},
        "failed": BOOLEAN,
        "returnValue": BYTES,
        "structLogs": _list(
            _object(
                {
                    "pc": {"type": "integer"},
                    "op": TEXT,
                    "gas": {"type": "integer"},
                    "gasCost": {"type": "integer"},
                    "depth": {"type": "integer", "minimum": 1},
                },
                {
                    "stack": _list(UINT),
                    "memory": _list(BYTES),
                    "storage": {"type": "object", "additionalProperties": _text("0x[0-9a-f]{64}")},
                    "error": TEXT,
                },
            )
        ),
    }
)
POOL = {"type": "object", "additionalProperties": PENDING}  # by nonce
BY_SENDER = {"type": "object", "additionalProperties": POOL}
RESOURCE = _object({"disabled": BOOLEAN, "oldestBlock": UINT})
FORK = _object(
    {
        "activationTime": {"type": "integer"},
        "blobSchedule": {"type": "object"},
        "chainId": UINT,
        "forkId": _text("0x[0-9a-f]{8}"),
        "precompiles": {"type": "object", "additionalProperties": ADDRESS},
        "systemContracts": {"type": "object", "additionalProperties": ADDRESS},
    }
)

CALL_RESULT = _object(
    {
        "returnData": BYTES,
        "logs": _list(LOG),
        "status": UINT,
        "gasUsed": UINT,
        "maxUsedGas": UINT,
    },
    {"error": _object({"message": TEXT, "code": {"type": "integer"}}, {"data": BYTES})},
)
SIMULATED = {
    **BLOCK,
    "properties": {**BLOCK["properties"], "calls": _list(CALL_RESULT, minItems=1)},
    "required": [*BLOCK["required"], "calls"],
}

#: Each of the specification's methods that are not the engine's, and what it returns. None: no
#: answer here but "method not found".
METHODS: dict[str, Schema | None] = {
    "debug_getBadBlocks": _list({}, maxItems=0),
    "debug_getRawBlock": BYTES,
    "debug_getRawBlockAccessList": None,  # of the Amsterdam fork
    "debug_getRawHeader": BYTES,
    "debug_getRawReceipts": _list(BYTES),
    "debug_getRawTransaction": BYTES,
    "debug_traceBlockByHash": _list(_object({"txHash": HASH, "result": STEPS})),
    "debug_traceBlockByNumber": _list(_object({"txHash": HASH, "result": STEPS})),
    "debug_traceTransaction": STEPS,
    "eth_accounts": _list(ADDRESS),
    "eth_blobBaseFee": UINT,
    "eth_blockNumber": UINT,
    "eth_call": BYTES,
    "eth_capabilities": _object(
        {
            "head": _object({"number": UINT, "hash": HASH}),
            "state": RESOURCE,
            "tx": RESOURCE,
            "logs": RESOURCE,
            "receipts": RESOURCE,
            "blocks": RESOURCE,
            "stateproofs": RESOURCE,
        }
    ),
    "eth_chainId": UINT,
    "eth_coinbase": ADDRESS,
    "eth_config": _object({"current": FORK, "next": {"type": "null"}, "last": {"type": "null"}}),
    "eth_createAccessList": _object({"accessList": ACCESS_LIST, "gasUsed": UINT}, {"error": TEXT}),
    "eth_estimateGas": UINT,
    "eth_feeHistory": FEES,
    "eth_gasPrice": UINT,
    "eth_getBalance": UINT,
    "eth_getBlockAccessList": None,  # of the Amsterdam fork
    "eth_getBlockByHash": BLOCK,
    "eth_getBlockByNumber": BLOCK,
    "eth_getBlockReceipts": _list(RECEIPT),
    "eth_getBlockTransactionCountByHash": UINT,
    "eth_getBlockTransactionCountByNumber": UINT,
    "eth_getCode": BYTES,
    "eth_getFilterChanges": {"anyOf": [_list(HASH), _list(LOG)]},
    "eth_getFilterLogs": _list(LOG),
    "eth_getLogs": _list(LOG),
    "eth_getProof": PROOF,
    "eth_getStorageAt": HASH,
    "eth_getStorageValues": {"type": "object", "additionalProperties": _list(HASH)},
    "eth_getTransactionByBlockHashAndIndex": TRANSACTION,
    "eth_getTransactionByBlockNumberAndIndex": TRANSACTION,
    "eth_getTransactionByHash": TRANSACTION,
    "eth_getTransactionCount": UINT,
    "eth_getTransactionReceipt": RECEIPT,
    "eth_getUncleCountByBlockHash": UINT,
    "eth_getUncleCountByBlockNumber": UINT,
    "eth_maxPriorityFeePerGas": UINT,
    "eth_newBlockFilter": UINT,
    "eth_newFilter": UINT,
    "eth_newPendingTransactionFilter": UINT,
    "eth_sendRawTransaction": HASH,
    "eth_sendTransaction": HASH,
    "eth_sign": _text("0x[0-9a-f]{130}"),
    "eth_signTransaction": _object({"raw": BYTES, "tx": PENDING}),
    "eth_simulateV1": _list(SIMULATED, minItems=1),
    "eth_syncing": FALSE,
    "eth_uninstallFilter": BOOLEAN,
    "net_version": _text("[0-9]+"),
    "testing_buildBlockV1": None,
    "txpool_content": _object({"pending": BY_SENDER, "queued": BY_SENDER}),
    "txpool_contentFrom": _object({"pending": POOL, "queued": POOL}),
    "txpool_status": _object({"pending": UINT, "queued": UINT}),
}
