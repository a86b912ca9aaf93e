"""The namespace eth, second part: accounts at a block, and calls that change nothing."""

from __future__ import annotations

from typing import Any

from npipe.errors import InvalidParams
from npipe.ethereum.chain.proof import prove
from npipe.ethereum.node.node import Node
from npipe.ethereum.node.simulate import simulate
from npipe.ethereum.node.worker import Trial, on_worker
from npipe.ethereum.values.overrides import BlockOverrides, Overrides, StateOverride
from npipe.ethereum.values.simulate_options import Simulation
from npipe.ethereum.values.types import (
    Address,
    BlockId,
    Slot,
    TransactionRequest,
    quantity,
    slot_name,
    to_bytes,
    to_slot,
    word,
)

__all__ = ["EthState"]

LATEST = "latest"
_MAX_SLOTS = 1_024


class EthState:
    """Balances, code, storage and calls. An unknown block is an error, "header not found"."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def get_balance(self, address: Address, block: BlockId = LATEST) -> str:
        """Return the balance of an account at a block, in wei, in hex.

        Source: execution-apis.
        """
        return quantity(self._node.state(block).get_balance(to_bytes(address)))

    @on_worker
    def get_code(self, address: Address, block: BlockId = LATEST) -> str:
        """Return the code of a contract at a block, in hex; "0x" if the account has none.

        Source: execution-apis.
        """
        return f"0x{self._node.state(block).get_code(to_bytes(address)).hex()}"

    @on_worker
    def get_storage_at(self, address: Address, slot: Slot, block: BlockId = LATEST) -> str:
        """Return a 32-byte word of the storage of a contract at a block, in hex.

        Source: execution-apis.
        """
        return word(self._node.state(block).get_storage(to_bytes(address), to_slot(slot)))

    @on_worker
    def get_transaction_count(self, address: Address, block: BlockId = LATEST) -> str:
        """Return the next nonce of an account, in hex. "pending" includes the pool.

        Source: execution-apis.
        """
        sender = to_bytes(address)
        if block == "pending":
            return quantity(self._node.pool.next_nonce(sender, self._node.chain.state()))
        return quantity(self._node.state(block).get_nonce(sender))

    @on_worker
    def call(
        self,
        transaction: TransactionRequest | None,
        block: BlockId = LATEST,
        overrides: dict[Address, StateOverride] | None = None,
        block_overrides: BlockOverrides | None = None,
    ) -> Trial[str]:
        """Execute a call on the state of a block and return its output, in hex. Nothing is kept.

        Source: execution-apis.
        """
        pretended = Overrides(overrides, block_overrides)
        run = self._node.calls.call(transaction or TransactionRequest(), block or LATEST, pretended)
        return lambda: f"0x{run().hex()}"

    @on_worker
    def estimate_gas(
        self,
        transaction: TransactionRequest | None,
        block: BlockId = LATEST,
        overrides: dict[Address, StateOverride] | None = None,
        block_overrides: BlockOverrides | None = None,
    ) -> Trial[str]:
        """Return the exact minimum of gas for a transaction to succeed, in units of gas, in hex.

        Source: execution-apis.
        """
        pretended = Overrides(overrides, block_overrides)
        request = transaction or TransactionRequest()
        run = self._node.calls.estimate(request, block or LATEST, pretended)
        return lambda: quantity(run())

    @on_worker
    def simulate_v1(
        self, simulation: Simulation | None, block: BlockId = LATEST
    ) -> Trial[list[dict[str, Any]]]:
        """Execute calls in simulated blocks and return those blocks. No state is changed.

        Numbers are in hex, amounts in wei. Source: execution-apis.
        """
        node = self._node
        base = node.place(block or LATEST).header
        return simulate(node.chain, node.calls, base, simulation or Simulation())

    @on_worker
    def get_storage_values(
        self, slots: dict[Address, list[Slot]], block: BlockId = LATEST
    ) -> dict[str, list[str]]:
        """Return 32-byte words of the storage of several contracts, in hex, as requested.

        Source: execution-apis.
        """
        if not slots:
            raise InvalidParams("empty request")
        if sum(map(len, slots.values())) > _MAX_SLOTS:
            raise InvalidParams(f"too many slots: {_MAX_SLOTS} at most")
        state = self._node.state(block)
        return {
            address: [word(state.get_storage(to_bytes(address), to_slot(slot))) for slot in wanted]
            for address, wanted in slots.items()
        }

    @on_worker
    def get_proof(
        self, address: Address, slots: list[Slot] | None, block: BlockId = LATEST
    ) -> dict[str, Any]:
        """Return an account and slots of its storage at a block, with Merkle proofs (EIP-1186).

        Source: execution-apis.
        """
        slots = slots or []
        if len(slots) > _MAX_SLOTS:
            raise InvalidParams(f"too many slots: {_MAX_SLOTS} at most")
        keys = [(to_slot(slot), slot_name(slot)) for slot in slots]
        place = self._node.place(block)
        chain = self._node.chain
        return prove(chain.store, chain.state_root(place.header), to_bytes(address), keys)

    @on_worker
    def create_access_list(
        self,
        transaction: TransactionRequest | None,
        block: BlockId = LATEST,
        overrides: dict[Address, StateOverride] | None = None,
    ) -> Trial[dict[str, Any]]:
        """Return the access list for a transaction, and the gas that it uses with it (EIP-2930).

        Source: execution-apis.
        """
        request, pretended = transaction or TransactionRequest(), Overrides(overrides)
        run = self._node.calls.access_list(request, block or LATEST, pretended)

        def trial() -> dict[str, Any]:
            entries, gas_used, error = run()
            result = {"accessList": entries, "gasUsed": quantity(gas_used)}
            return result | {"error": error} if error else result

        return trial
