"""The namespace eth, third part: signing and sending transactions."""

from __future__ import annotations

from typing import Any

import msgspec
from eth_hash.auto import keccak

from npipe.errors import InvalidParams
from npipe.ethereum.chain import encode as shapes
from npipe.ethereum.chain import transactions
from npipe.ethereum.errors import ChainError
from npipe.ethereum.node.node import NOBODY, Node
from npipe.ethereum.node.worker import CooperativeJob, on_worker
from npipe.ethereum.values.typed_data import typed_data_hash
from npipe.ethereum.values.types import Address, Data, TransactionRequest, data, to_bytes, to_int
from npipe.rpc.service.context import Context
from npipe.rpc.service.decorators import method

__all__ = ["EthTransactions"]


class EthTransactions:
    """Transactions signed by the client, or by this node with a development account."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def send_transaction(
        self, context: Context, transaction: TransactionRequest | None
    ) -> CooperativeJob[str]:
        """Sign a transaction with a key of this node and send it. Returns its hash.

        Source: execution-apis.
        """
        with self._node.hub.caused_by(context):
            return data((yield from self._node.send(transaction)))

    @on_worker
    def send_raw_transaction(self, context: Context, raw: Data) -> CooperativeJob[str]:
        """Send a signed transaction, given as bytes in hex. Returns its hash.

        With automatic mining the transaction is in a block already. Source: execution-apis.
        """
        with self._node.hub.caused_by(context):
            return data((yield from self._node.submit(transactions.decode(to_bytes(raw)))))

    @on_worker
    def send_unsigned_transaction(
        self, context: Context, transaction: TransactionRequest
    ) -> CooperativeJob[str]:
        """Send a transaction of any account without its key, as anvil does. Returns the hash.

        Source: anvil's documentation.
        """
        with self._node.hub.caused_by(context):
            return data((yield from self._node.send(transaction, pretend=True)))

    @on_worker
    def fill_transaction(
        self, transaction: TransactionRequest | None
    ) -> CooperativeJob[dict[str, Any]]:
        """Return a transaction with its missing fields filled in, and its bytes. It is not sent.

        The bytes are those of the unsigned transaction, in hex. Source: execution-apis.
        """
        filled = yield from self._node.fill(transaction or TransactionRequest())
        raw = transactions.without_signature(filled)
        return {"raw": data(raw), "tx": shapes.unsigned(filled, keccak(raw))}

    @on_worker
    def sign_transaction(
        self, transaction: TransactionRequest | None
    ) -> CooperativeJob[dict[str, Any]]:
        """Sign a transaction without sending it. Returns its bytes and its fields.

        As in geth, gas, nonce and a price must be given, so that nothing is signed that the client
        did not choose.
        Source: execution-apis.
        """
        transaction = transaction or TransactionRequest()
        if transaction.gas is None:
            raise ChainError("gas not specified")
        if transaction.gas_price is None and transaction.max_fee_per_gas is None:
            raise ChainError("missing gasPrice or maxFeePerGas/maxPriorityFeePerGas")
        if transaction.nonce is None:
            raise ChainError("nonce not specified")
        signed = yield from self._node.sign(transaction)
        return {"raw": data(signed.encode()), "tx": shapes.transaction(signed)}

    @on_worker
    def sign(self, address: Address, message: Data) -> str:
        """Sign a message (EIP-191) with an account of the node. Returns 65 bytes in hex.

        Source: execution-apis.
        """
        return self._node.account(to_bytes(address)).sign(to_bytes(message))

    @method(name="signTypedData_v4")
    @on_worker
    def sign_typed_data_v4(self, address: Address, typed_data: dict[str, Any] | str) -> str:
        """Sign structured data (EIP-712) with an account of the node. Returns 65 bytes in hex.

        ``typed_data`` is an object with types, primaryType, domain and message, or that object as
        JSON text.
        """
        return self._node.account(to_bytes(address)).sign_hash(typed_data_hash(_object(typed_data)))

    @on_worker
    def sign_typed_data(self, address: Address, typed_data: dict[str, Any] | str) -> str:
        """Return the signature of eth_signTypedData_v4: the same method by its name in EIP-712."""
        return self._node.account(to_bytes(address)).sign_hash(typed_data_hash(_object(typed_data)))

    @on_worker
    def resend(
        self,
        context: Context,
        transaction: TransactionRequest | None,
        gas_price: str | None = None,
        gas: str | None = None,
    ) -> CooperativeJob[str]:
        """Replace a pending transaction by one with higher fees. Returns the new hash.

        Source: geth's documentation, namespace eth.
        """
        if transaction is None or transaction.nonce is None:
            raise ChainError("missing transaction nonce in transaction spec")
        sender, nonce = to_bytes(transaction.from_ or NOBODY), to_int(transaction.nonce)
        if self._node.pool.at(sender, nonce) is None:
            raise ChainError("transaction not found: no pending transaction has this nonce")
        transaction.gas_price = gas_price or transaction.gas_price
        transaction.gas = gas or transaction.gas
        with self._node.hub.caused_by(context):
            return data((yield from self._node.send(transaction)))

    @on_worker
    def pending_transactions(self) -> list[dict[str, Any]]:
        """Return the pending transactions that were sent by accounts of the node.

        Numbers are in hex, amounts in wei. Source: geth's documentation, namespace eth.
        """
        state = self._node.chain.state()
        return [
            shapes.transaction(item)
            for item in self._node.pool.pending(state)
            if item.sender in self._node.accounts
        ]


def _object(typed_data: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(typed_data, str):
        try:
            return msgspec.json.decode(typed_data, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            raise InvalidParams("the typed data is not a JSON object") from None
    return typed_data
