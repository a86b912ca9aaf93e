"""The node: chain, pool, keys and worker put together; what the namespaces are written on.

Methods here run in the worker (the namespaces see to that), except the reads of ``head``,
``chain_id`` and ``accounts``, which need no chain and may be used from any thread.
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
_FEW = 10  # so many blocks are made one by one, empty or not
NOBODY = "0x" + "00" * 20
_NO_BLOCK_NAMED = "invalid arguments; neither block nor hash specified"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call runs: the header it sees and whether that block is still to come."""

    header: BlockHeaderAPI
    mined: MinedBlock | None  # None: the pending block, with nothing in it yet


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a snapshot keeps besides the chain."""

    pool: Pool
    impersonated: set[bytes]
    impersonates_all: bool
    automine: bool
    interval: float


class Node:
    """A chain that takes transactions."""

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
        self.interval: float = 0  # seconds from a block to the next; 0: none is mined by itself
        if block_time is not None:
            self.set_interval(block_time)

    @property
    def hub(self) -> EventBus:
        return self.chain.hub

    @property
    def head(self) -> MinedBlock:
        """The newest block. From any thread."""
        return self.chain.head

    def account(self, address: bytes) -> Account:
        """The account whose key is here. Raises UnknownAccount."""
        try:
            return self.accounts[address]
        except KeyError:
            raise UnknownAccount from None

    # -- which block ----------------------------------------------------------------------------

    def block(self, wanted: BlockId) -> MinedBlock | None:
        """The block of a number, tag, hash or EIP-1898 object; None where there is none.

        "pending" is a block built now from what waits in the pool, on no account kept.
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
        """Where to run a call. Raises UnknownBlock."""
        if wanted == "pending" and not len(self.pool):
            return Place(self.chain.next_header(), None)
        mined = self.block(wanted)
        if mined is None:
            raise UnknownBlock(
                "header for hash not found" if _is_hash(wanted) else "header not found"
            )
        return Place(mined.header, mined)

    def state(self, wanted: BlockId, deadline: float = math.inf) -> Any:
        """The state after a block. Raises UnknownBlock."""
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
        """Fill in what a request leaves out, as geth does, and sign it with the sender's key.

        An impersonated sender needs none, nor any with ``pretend``.
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
        """Return what a request asks to be signed, complete. ``typed``: of a new kind in any case.

        Gas is estimated in a thread for trials, with the fees that it will have, as geth does.
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
        """Take a signed transaction into the pool, and into a block at once when automining.

        Returns its hash; when that is returned and it was mined, its receipt is there. Many
        turns: those that waited for it get a block each.
        Raises ChainError, in geth's words, for one that cannot be taken.
        """
        chain, state = self.chain, self.chain.state()
        transactions.check(transaction, chain_id=chain.chain_id, gas_limit=chain.gas_limit)
        if chain.transaction(transaction.hash) is not None:
            raise ChainError("already known")
        promised = self.pool.cost_before(transaction.sender, transaction.nonce)
        transactions.check_against_state(transaction, state, promised)
        base_fee = self.chain.next_base_fee()
        if self.automine and transaction.max_fee_per_gas < base_fee:  # it would wait for ever
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
                self.pool.discard(transaction)  # its caller is told that it failed
                raise
        return bytes(transaction.hash)

    def mine(self) -> MinedBlock:
        """Add a block with what waits in the pool."""
        return self._mine(self._waiting())

    def mine_many(self, count: int, interval: int | None = None) -> CooperativeJob[None]:
        """Add so many blocks, a turn each; ``interval``: so many seconds from one to the next.

        Raises ChainError for more than one request may have.
        """
        if count > _MAX_MINED_AT_ONCE:
            raise ChainError(f"{count} blocks are too many at once: {_MAX_MINED_AT_ONCE} at most")
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
        """Mine each transaction as it comes, those that wait included, or let them wait."""
        self.automine = on
        if on:
            yield from self._mine_each()

    def set_interval(self, seconds: float) -> None:
        """Mine a block each so many seconds; 0 stops that."""
        self.interval = seconds
        self.worker.every(seconds, self.mine)

    def reset(self) -> None:
        """Go back to the first block, with nothing waiting and nobody impersonated."""
        self.chain.reset()
        self.pool = Pool()
        self.impersonated.clear()
        self.impersonates_all = False

    def gas_price(self) -> int:
        """A price, in wei a unit of gas, that the next block will take."""
        return self.chain.next_base_fee() + TIP

    def dump(self) -> SavedChain:
        """Chain and pool, to be saved."""
        return self.chain.dump(self.pool)

    def restore_pool(self, saved: SavedChain) -> None:
        """Take back the transactions that waited when the chain was saved."""
        for raw in saved.pool:
            self.pool.add(transactions.restore(raw))

    def snapshot(self) -> int:
        """Remember the chain, the pool and all that can be set."""
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
        """Go back to a snapshot; False where there is none of that number."""
        found, kept = self.chain.revert(number)
        if found:
            self.pool = kept.pool
            self.impersonated, self.impersonates_all = kept.impersonated, kept.impersonates_all
            self.automine = kept.automine
            if self.interval != kept.interval:
                self.set_interval(kept.interval)
        return found

    def _waiting(self, sender: bytes | None = None) -> list[Any]:
        """What could be in the next block, in its order."""
        base_fee = self.chain.next_base_fee()
        return self.pool.pending(self.chain.state(), sender, base_fee=base_fee)

    def _mine_each(self, sender: bytes | None = None) -> CooperativeJob[None]:
        """One block for each transaction that can be mined, of one sender or all, in order."""
        first = True
        while waiting := self._waiting(sender):
            if not first:
                yield None
            first = False
            try:
                mined = self._mine(waiting[:1])
            except Stopped:  # it goes on waiting, in the state that is saved
                raise
            except BaseException:
                self.pool.discard(waiting[0])
                raise
            self.pool.discard(waiting[0])  # in a block or not, the next one must not wait for it
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
