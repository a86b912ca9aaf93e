"""The node: chain, pool, keys and worker, on which the namespaces are built.

Methods run in the worker, which the namespaces ensure, except reads of ``head``, ``chain_id`` and
``accounts``, which any thread may use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth.abc import BlockHeaderAPI, SignedTransactionAPI

from npipe.ethereum.chain import transactions
from npipe.ethereum.chain.accounts import Account
from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.chain.chain import Chain
from npipe.ethereum.chain.empty_blocks import EmptyBlocks
from npipe.ethereum.chain.events import EventBus
from npipe.ethereum.chain.pool import Pool
from npipe.ethereum.chain.state_file import SavedChain
from npipe.ethereum.errors import ChainError, Stopped, UnknownAccount, UnknownBlock
from npipe.ethereum.evm.impersonation import impersonate
from npipe.ethereum.node.calls import Calls
from npipe.ethereum.node.worker import CooperativeJob, Worker
from npipe.ethereum.values.defaults import TIP, check_request, fees, with_fees
from npipe.ethereum.values.types import BlockHash, BlockId, TransactionRequest, to_bytes, to_int

__all__ = ["NOBODY", "Node", "Place"]

_MAX_MINED_AT_ONCE = 1_000_000
_FEW = 10  # up to this number, blocks are made one by one, empty or not
NOBODY = "0x" + "00" * 20
_NO_BLOCK_NAMED = "invalid arguments; neither block nor hash specified"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a call: the header that it sees, and whether it is the pending block."""

    header: BlockHeaderAPI
    mined: MinedBlock | None  # None: the pending block, still empty


@dataclass(frozen=True, slots=True)
class _Kept:
    """The data of a snapshot besides the chain."""

    pool: Pool
    impersonated: set[bytes]
    impersonates_all: bool
    automine: bool
    interval: float


class Node:
    """A chain that accepts transactions."""

    def __init__(
        self,
        chain: Chain,
        accounts: Sequence[Account],
        *,
        worker: Worker | None = None,
        block_time: float | None = None,
    ) -> None:
        self.chain = chain
        self.accounts: dict[bytes, Account] = {account.address: account for account in accounts}
        self.pool: Pool = Pool()
        self.calls: Calls = Calls(chain, lambda wanted: self.place(wanted).header)
        self.impersonated: set[bytes] = set()
        self.impersonates_all: bool = False
        self.worker: Worker = worker or Worker(stopping=chain.stopping)
        self.automine: bool = block_time is None
        self.interval: float = 0  # seconds between blocks; 0: no interval mining
        if block_time is not None:
            self.set_interval(block_time)

    @property
    def hub(self) -> EventBus:
        return self.chain.hub

    @property
    def head(self) -> MinedBlock:
        """Return the newest block. From any thread."""
        return self.chain.head

    def account(self, address: bytes) -> Account:
        """Return an account of the node. Raises UnknownAccount."""
        try:
            return self.accounts[address]
        except KeyError:
            raise UnknownAccount from None

    # -- blocks ---------------------------------------------------------------------------------

    def block(self, wanted: BlockId) -> MinedBlock | None:
        """Return the block of a number, tag, hash or EIP-1898 object; None if there is none.

        "pending" is a block built now from the pool, which is not kept.
        """
        if wanted is None:
            raise ChainError(_NO_BLOCK_NAMED)
        if isinstance(wanted, BlockHash):
            return self._block_of_object(wanted)
        if wanted in ("latest", "safe", "finalized"):
            return self.chain.head
        if wanted == "earliest":
            return self.chain.by_number(0)
        if wanted == "pending":
            return self.chain.build(self.chain.next_header(), self._waiting())[0]
        if isinstance(wanted, str) and len(wanted) == 66:
            return self.chain.by_hash(to_bytes(wanted))
        return self.chain.by_number(to_int(wanted))

    def place(self, wanted: BlockId) -> Place:
        """Return the place of a call. Raises UnknownBlock."""
        if wanted == "pending" and not len(self.pool):
            return Place(self.chain.next_header(), None)
        mined = self.block(wanted)
        if mined is None:
            raise UnknownBlock(
                "header for hash not found" if _is_hash(wanted) else "header not found"
            )
        return Place(mined.header, mined)

    def state(self, wanted: BlockId, deadline: float = math.inf) -> Any:
        """Return the state after a block. Raises UnknownBlock."""
        return self.chain.state(self.place(wanted).header, deadline)

    def _block_of_object(self, wanted: BlockHash) -> MinedBlock | None:
        if wanted.block_hash is not None:
            return self.chain.by_hash(to_bytes(wanted.block_hash))
        if wanted.block_number is not None:
            return self.block(wanted.block_number)
        raise ChainError(_NO_BLOCK_NAMED)

    # -- transactions ---------------------------------------------------------------------------

    def send(
        self, request: TransactionRequest | None, *, pretend: bool = False
    ) -> CooperativeJob[bytes]:
        """Sign a request and submit it; see ``sign`` and ``submit``. Returns the hash."""
        signed = yield from self.sign(request or TransactionRequest(), pretend=pretend)
        return (yield from self.submit(signed))

    def sign(
        self, request: TransactionRequest, *, pretend: bool = False
    ) -> CooperativeJob[SignedTransactionAPI]:
        """Fill in missing fields of a request, as geth does, and sign it with the sender's key.

        An impersonated sender needs no key, nor does any sender with ``pretend``.
        """
        if request.from_ is None:
            raise UnknownAccount
        sender = to_bytes(request.from_)
        pretended = pretend or self.impersonates_all or sender in self.impersonated
        account = None if pretended and sender not in self.accounts else self.account(sender)
        unsigned = yield from self.fill(request, typed=account is None)
        if account is None:
            return impersonate(unsigned, sender)
        return transactions.sign(unsigned, account.key, self.chain.chain_id)

    def fill(self, request: TransactionRequest, *, typed: bool = False) -> CooperativeJob[Any]:
        """Return a complete request for signing. ``typed``: never a legacy transaction.

        Gas is estimated with the fees of the transaction, in a thread for trials, as in geth.
        """
        sender = to_bytes(request.from_ or NOBODY)
        check_request(request, self.chain.chain_id)
        cap, tip = fees(request, self.chain.next_base_fee())
        if request.gas is not None:
            gas = to_int(request.gas)
        else:
            gas = yield self.calls.estimate(with_fees(request, (cap, tip)), "pending")
        if request.nonce is not None:
            nonce = to_int(request.nonce)
        else:
            nonce = self.pool.next_nonce(sender, self.chain.state())
        return transactions.unsigned(
            request,
            chain_id=self.chain.chain_id,
            nonce=nonce,
            gas=gas,
            fees=(cap, cap if typed and tip is None else tip),
        )

    def submit(self, transaction: SignedTransactionAPI) -> CooperativeJob[bytes]:
        """Add a signed transaction to the pool and, with automatic mining, mine it at once.

        Returns its hash. If it was mined, its receipt exists by then. The job has many turns:
        queued transactions that it enables get a block each. Raises ChainError with geth's message
        if it is not acceptable.
        """
        chain, state = self.chain, self.chain.state()
        transactions.check(transaction, chain_id=chain.chain_id, gas_limit=chain.gas_limit)
        if chain.transaction(transaction.hash) is not None:
            raise ChainError("already known")
        promised = self.pool.cost_before(transaction.sender, transaction.nonce)
        transactions.check_against_state(transaction, state, promised)
        base_fee = self.chain.next_base_fee()
        if self.automine and transaction.max_fee_per_gas < base_fee:  # it could never be mined
            raise ChainError(
                f"max fee per gas less than block base fee: address 0x{transaction.sender.hex()}, "
                f"maxFeePerGas: {transaction.max_fee_per_gas}, baseFee: {base_fee}"
            )
        blob_fee = self.chain.next_blob_base_fee() if transaction.type_id == 3 else 0
        if blob_fee and self.automine and transaction.max_fee_per_blob_gas < blob_fee:
            raise ChainError(
                "max fee per blob gas less than block blob gas fee: "
                f"address 0x{transaction.sender.hex()}, blobGasFeeCap: "
                f"{transaction.max_fee_per_blob_gas}, blobBaseFee: {blob_fee}"
            )
        self.pool.add(transaction)
        self.hub.new_pending(transaction)
        if self.automine:
            try:
                yield from self._mine_each(transaction.sender)
            except Stopped:
                self.pool.discard(transaction)  # its caller gets the error
                raise
        return bytes(transaction.hash)

    def mine(self) -> MinedBlock:
        """Add a block with the transactions of the pool."""
        return self._mine(self._waiting())

    def mine_many(self, count: int, interval: int | None = None) -> CooperativeJob[None]:
        """Add ``count`` blocks, a turn each. ``interval``: the seconds between their timestamps.

        Raises ChainError if the number exceeds the limit of one request.
        """
        if count > _MAX_MINED_AT_ONCE:
            raise ChainError(f"{count} blocks in one request: the limit is {_MAX_MINED_AT_ONCE}")
        empty: EmptyBlocks | None = None
        for number in range(count):
            if number:
                yield None
            if number and interval is not None:
                self.chain.set_next_timestamp(self.head.header.timestamp + interval)
            if empty is not None and not len(self.pool) and empty.mine():
                continue
            self.mine()
            many = count - number > _FEW and EmptyBlocks.possible(self.chain)
            empty = EmptyBlocks(self.chain) if many else None

    def set_automine(self, on: bool) -> CooperativeJob[None]:
        """Enable or disable mining each transaction at once. Enabling mines the pending ones."""
        self.automine = on
        if on:
            yield from self._mine_each()

    def set_interval(self, seconds: float) -> None:
        """Mine a block every ``seconds``; 0 disables it."""
        self.interval = seconds
        self.worker.every(seconds, self.mine)

    def reset(self) -> None:
        """Return to the first block, with an empty pool and no impersonated accounts."""
        self.chain.reset()
        self.pool = Pool()
        self.impersonated.clear()
        self.impersonates_all = False

    def gas_price(self) -> int:
        """Return a price that the next block accepts, in wei per unit of gas."""
        return self.chain.next_base_fee() + TIP

    def dump(self) -> SavedChain:
        """Return chain and pool, for the state file."""
        return self.chain.dump(self.pool)

    def restore_pool(self, saved: SavedChain) -> None:
        """Add the transactions of the pool in a state file."""
        for raw in saved.pool:
            self.pool.add(transactions.restore(raw))

    def snapshot(self) -> int:
        """Save the chain, the pool and all settings. Return the number for ``revert``."""
        return self.chain.snapshot(
            _Kept(
                self.pool.copy(),
                set(self.impersonated),
                self.impersonates_all,
                self.automine,
                self.interval,
            )
        )

    def revert(self, number: int) -> bool:
        """Restore a snapshot. Return False if there is none with that number."""
        found, kept = self.chain.revert(number)
        if found:
            self.pool = kept.pool
            self.impersonated, self.impersonates_all = kept.impersonated, kept.impersonates_all
            self.automine = kept.automine
            if self.interval != kept.interval:
                self.set_interval(kept.interval)
        return found

    def _waiting(self, sender: bytes | None = None) -> list[Any]:
        """Return the transactions that could be in the next block, in order."""
        base_fee = self.chain.next_base_fee()
        return self.pool.pending(self.chain.state(), sender, base_fee=base_fee)

    def _mine_each(self, sender: bytes | None = None) -> CooperativeJob[None]:
        """Mine a block for each transaction that can be mined, of one sender or all, in order."""
        first = True
        while waiting := self._waiting(sender):
            if not first:
                yield None
            first = False
            try:
                mined = self._mine(waiting[:1])
            except Stopped:  # it stays pending in the state file
                raise
            except BaseException:
                self.pool.discard(waiting[0])
                raise
            self.pool.discard(waiting[0])  # mined or not, the next one must not wait for it
            if not mined.block.transactions:
                raise ChainError("the transaction does not fit into a block")

    def _mine(self, waiting: Sequence[Any]) -> MinedBlock:
        mined = self.chain.mine(waiting)
        for transaction in mined.block.transactions:
            self.pool.discard(transaction)
        if len(self.pool):
            self.pool.drop_stale(self.chain.state())
        return mined


def _is_hash(wanted: Any) -> bool:
    if isinstance(wanted, BlockHash):
        return wanted.block_hash is not None
    return isinstance(wanted, str) and len(wanted) == 66
