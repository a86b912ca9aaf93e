"""The chain: blocks, the state after each of them, time, snapshots. It does not use JSON.

Everything here runs in the worker thread of the chain, except reading ``head``, which is replaced
as a whole and never changed. Blocks, receipts and their indexes are Python objects; of py-evm's
storage only the key-value store is used (state, and headers by hash). The nodes of the state are
stored under their hash, so the state of an older head remains complete, and reverting is cheap.

There is no consensus layer, so blocks made here have no withdrawals and no uncles; imported blocks
may have them. The system contracts of Cancun and Prague exist, so another client accepts every
block whose state was not altered directly.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth.abc import BlockAPI, BlockHeaderAPI, SignedTransactionAPI
from eth.consensus import ConsensusContext
from eth.constants import GENESIS_PARENT_HASH, ZERO_ADDRESS
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.db.chain import ChainDB
from eth.vm.chain_context import ChainContext
from eth.vm.forks.london.headers import calculate_expected_base_fee_per_gas
from eth_hash.auto import keccak
from eth_utils import ValidationError
from rlp import encode
from rlp.exceptions import RLPException

from npipe.ethereum.chain.block import MinedBlock, restored
from npipe.ethereum.chain.block_run import BlockRun, begun
from npipe.ethereum.chain.clock import Clock
from npipe.ethereum.chain.events import EventBus
from npipe.ethereum.chain.genesis import EXTRA, GAS_LIMIT, MIN_GAS_LIMIT, NO_ROOT, genesis, made
from npipe.ethereum.chain.genesis_file import blocks_of, genesis_of
from npipe.ethereum.chain.state_file import SavedChain
from npipe.ethereum.errors import ChainError
from npipe.ethereum.evm.forks import Fork, Forks

__all__ = ["Chain", "Next"]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    height: int
    clock: tuple[int, int | None, int | None]
    altered: bytes | None  # the state root of the newest block, if it was altered directly
    coinbase: bytes
    gas_limit: int
    next: Next
    extra: Any  # data of the caller


@dataclass(slots=True)
class Next:
    """Values for the next block only. None: the value follows from the parent."""

    base_fee: int | None = None
    prev_randao: bytes | None = None


class Chain:
    """Blocks and their states. Used by one thread at a time."""

    head: MinedBlock

    def __init__(
        self,
        balances: Mapping[bytes, int],
        *,
        chain_id: int = 1337,
        hub: EventBus | None = None,
        clock: Callable[[], float] = time.time,
        saved: SavedChain | None = None,
        genesis_file: bytes = b"",
    ) -> None:
        """Make a chain.

        Args:
            balances: the balance of each account in the first block, in wei.
            chain_id: the chain's id (EIP-155).
            hub: the listeners to notify.
            clock: the system's time, in seconds since 1970.
            saved: a result of ``dump`` to continue; it replaces ``balances``.
            genesis_file: the forks and the first block, in the JSON of geth's genesis files; it
                replaces ``balances`` and ``chain_id``.

        Raises ValueError if the chain id is out of range or differs from the saved chain's, or if
        the saved chain is inconsistent.
        """
        genesis_file = saved.genesis_file if saved else genesis_file
        given = genesis_of(genesis_file) if genesis_file else None
        chain_id = given.chain_id if given else chain_id
        if not 1 <= chain_id <= 2**53 - 1:  # wallets compute 2 * id + 36 in a double
            raise ValueError(f"chain id {chain_id} is not between 1 and {2**53 - 1}")
        self.chain_id = chain_id
        self.hub: EventBus = EventBus() if hub is None else hub
        self.coinbase: bytes = ZERO_ADDRESS
        self.gas_limit: int = GAS_LIMIT  # of the next blocks
        self.next: Next = Next()
        self.stopping: threading.Event = threading.Event()  # once set, interrupts running code
        self.store: dict[bytes, bytes] = {}
        self._chaindb = ChainDB(AtomicDB(MemoryDB(self.store)))
        self._context = ChainContext(chain_id)
        self.forks: Forks = given.forks if given else Forks()
        self._genesis_file = genesis_file
        self.clock: Clock = Clock(clock)
        self._snapshots: dict[int, _Snapshot] = {}
        self._last_snapshot = 0
        self._blocks: list[MinedBlock] = []
        self._by_hash: dict[bytes, MinedBlock] = {}
        self._by_transaction: dict[bytes, tuple[MinedBlock, int]] = {}
        self._altered: dict[
            bytes, bytes
        ] = {}  # state roots by block, if they differ from the header's
        if saved is None:
            self._append(
                made(self.state, given.header, given.accounts, self.machine(given.header))
                if given
                else genesis(self.state, balances, self.clock.now())
            )
            self.gas_limit = self.head.header.gas_limit
        else:
            self._restore(saved)

    # -- reading --------------------------------------------------------------------------------

    @property
    def blocks(self) -> Sequence[MinedBlock]:
        """Return all blocks, by number."""
        return self._blocks

    def machine(self, header: BlockHeaderAPI) -> Any:
        """Return py-evm's machine with the rules of a block."""
        return self.forks.of_header(header).machine

    def by_number(self, number: int) -> MinedBlock | None:
        return self._blocks[number] if 0 <= number < len(self._blocks) else None

    def by_hash(self, block_hash: bytes) -> MinedBlock | None:
        return self._by_hash.get(block_hash)

    def transaction(self, transaction_hash: bytes) -> tuple[MinedBlock, int] | None:
        """Return the block of a transaction, and its index there."""
        return self._by_transaction.get(transaction_hash)

    def state(self, header: BlockHeaderAPI | None = None, deadline: float = math.inf) -> Any:
        """Return the state after a block (by default the head), for reading or for a trial.

        Writes to it are kept only if it is persisted. ``deadline`` is the deadline of code that
        runs on it, a value of time.monotonic().
        """
        return self.opener(header or self.head.header)(deadline)

    def opener(self, header: BlockHeaderAPI) -> Callable[[float], Any]:
        """Return a function that opens the present state after a block, from any thread, any time.

        Nodes of the state are never removed, and blocks are only appended to a list, so an opened
        state does not change with the chain.
        """
        machine, root, blocks = self.machine(header), self.state_root(header), self._blocks

        def ancestors() -> Iterable[bytes]:
            return (blocks[number].hash for number in range(header.block_number - 1, -1, -1))

        def open_state(deadline: float = math.inf) -> Any:
            context = machine.create_execution_context(header, ancestors(), self._context)
            state = machine.get_state_class()(self._chaindb.db, context, root)
            state.deadline, state.stopping = deadline, self.stopping
            return state

        return open_state

    def state_root(self, header: BlockHeaderAPI) -> bytes:
        """Return the state root after a block.

        It differs from the header if the state was altered.
        """
        root: bytes = header.state_root
        return self._altered.get(header.hash, root) if self._altered else root

    def next_base_fee(self) -> int:
        """Return the base fee of the next block, in wei per unit of gas."""
        if self.next.base_fee is not None:
            return self.next.base_fee
        return int(calculate_expected_base_fee_per_gas(self.head.header))

    def next_fork(self) -> Fork:
        """Return the fork of the next block."""
        head = self.head.header
        return self.forks.at(head.block_number + 1, self.clock.next(head.timestamp))

    def next_blob_base_fee(self) -> int:
        """Return the blob base fee of the next block, in wei per unit of blob gas."""
        return self.blob_base_fee(self.next_header())

    def blob_base_fee(self, header: BlockHeaderAPI) -> int:
        """Return the blob base fee of a block, in wei per unit of blob gas; 0 before Cancun."""
        schedule = self.forks.of_header(header).blobs
        return schedule.base_fee(header.excess_blob_gas) if schedule else 0

    # -- mining ---------------------------------------------------------------------------------

    def next_header(self) -> BlockHeaderAPI:
        """Return the header with which a block mined now would begin."""
        parent = self.head.header
        fork = self.next_fork()
        header = fork.machine.create_header_from_parent(
            parent,
            coinbase=self.coinbase,
            timestamp=self.clock.next(parent.timestamp),
            gas_limit=parent.gas_limit,
            extra_data=EXTRA,
        )
        fields: dict[str, Any] = {
            "gas_limit": self.gas_limit,
            "state_root": self.state_root(parent),
        }
        if fork.machine.get_state_class().rules.base_fee:
            fields["base_fee_per_gas"] = self.next_base_fee()
        if not header.difficulty:
            # PREVRANDAO: not random, but different in each block.
            fields["mix_hash"] = self.next.prev_randao or keccak(parent.hash)
        if fork.blobs is not None:
            fields["excess_blob_gas"] = fork.excess_blob_gas(parent)
            fields["parent_beacon_block_root"] = NO_ROOT
        return header.copy(**fields)

    def build(
        self, header: BlockHeaderAPI, transactions: Iterable[SignedTransactionAPI]
    ) -> tuple[MinedBlock, list[SignedTransactionAPI]]:
        """Execute transactions on the head without moving it. Return a sealed block and the rest.

        The rest are the transactions that do not fit: those with too much gas for this block, and
        those that the sender cannot pay after an earlier one.
        """
        run = BlockRun(self.vm(header), self.forks.of_header(header).blobs)
        left = [transaction for transaction in transactions if not run.add(transaction)]
        return run.seal(), left

    def import_blocks(self, octets: bytes) -> int:
        """Execute and append the blocks of a file in RLP, in order. Return their number.

        Raises ValueError if the file has another format, or a block is invalid.
        """
        count = 0
        for count, block in enumerate(blocks_of(octets, self.forks), 1):  # noqa: B007
            self.add(block)
        return count

    def add(self, block: BlockAPI) -> MinedBlock:
        """Execute a block that was made elsewhere, and append it.

        Raises ValueError if it does not follow the head, or if the roots in its header differ from
        those of its execution here.
        """
        header, parent = block.header, self.head.header
        if (header.block_number, header.parent_hash) != (parent.block_number + 1, parent.hash):
            raise ValueError(f"block {header.block_number} does not follow {parent.block_number}")
        fork = self.forks.of_header(header)
        if fork.blobs is not None and header.excess_blob_gas != fork.excess_blob_gas(parent):
            raise ValueError(f"block {header.block_number}: the excess blob gas is wrong")
        run = BlockRun(self.vm(begun(header, self.state_root(parent))), fork.blobs)
        for index, transaction in enumerate(block.transactions):
            if not run.add(transaction):
                raise ValueError(
                    f"block {header.block_number}: transaction {index} is invalid: {run.reason}"
                )
        mined = run.seal(block)
        if mined.hash != block.hash:
            ours, theirs = mined.header.as_dict(), header.as_dict()
            wrong = ", ".join(name for name in theirs if ours.get(name) != theirs[name])
            raise ValueError(
                f"block {header.block_number} has another result when executed here: {wrong}"
            )
        self._append(mined)
        self.gas_limit = header.gas_limit
        return mined

    def mine(self, transactions: Iterable[SignedTransactionAPI] = ()) -> MinedBlock:
        """Add a block with the transactions that fit, and notify the listeners."""
        mined, _ = self.build(self.next_header(), transactions)
        self.append(mined)
        return mined

    def append(self, mined: MinedBlock) -> None:
        """Append a block that was built on the head, and notify the listeners."""
        self.clock.passed(mined.header.timestamp)
        self.next = Next()
        self._append(mined)
        self.hub.new_block(mined)

    def vm(
        self, header: BlockHeaderAPI, scratch: MutableMapping[bytes, bytes] | None = None
    ) -> Any:
        """Return py-evm's machine for one block, on the state of a header.

        ``scratch`` replaces the store of the chain for writing; it must contain all of that store.
        """
        chaindb = self._chaindb
        if scratch is not None:
            chaindb = ChainDB(AtomicDB(MemoryDB(scratch)))
        vm = self.machine(header)(header, chaindb, self._context, ConsensusContext(chaindb.db))
        vm.state.stopping = self.stopping
        return vm

    def set_next_timestamp(self, timestamp: int) -> None:
        """Set the timestamp of the next block; the clock continues from it."""
        self.clock.want(timestamp, self.head.header.timestamp)

    def alter(self, change: Callable[[Any], None]) -> None:
        """Change the state after the newest block directly. No header records this."""
        state = self.state()
        change(state)
        state.persist()
        self._altered[self.head.hash] = state.state_root

    def set_gas_limit(self, gas: int) -> None:
        """Set the gas limit of the next blocks. Raises ChainError if it is out of range."""
        if not MIN_GAS_LIMIT <= gas < 2**63:
            raise ChainError(f"a gas limit of {gas}: at least {MIN_GAS_LIMIT}, below 2**63")
        self.gas_limit = gas

    # -- snapshots ------------------------------------------------------------------------------

    def snapshot(self, extra: Any = None) -> int:
        """Save the present state of the chain. Return a new number for ``revert``."""
        self._last_snapshot += 1
        self._snapshots[self._last_snapshot] = _Snapshot(
            len(self._blocks),
            self.clock.state,
            self._altered.get(self.head.hash),
            self.coinbase,
            self.gas_limit,
            replace(self.next),
            extra,
        )
        return self._last_snapshot

    def revert(self, number: int) -> tuple[bool, Any]:
        """Restore a snapshot. It and all later snapshots are removed.

        Return whether the snapshot existed, and the data that was saved with it.
        """
        snapshot = self._snapshots.get(number)
        if snapshot is None:
            return False, None
        for later in [key for key in self._snapshots if key >= number]:
            del self._snapshots[later]
        self._cut(snapshot.height)
        self._altered.pop(self.head.hash, None)
        if snapshot.altered is not None:
            self._altered[self.head.hash] = snapshot.altered
        self.clock.state = snapshot.clock
        self.coinbase, self.gas_limit = snapshot.coinbase, snapshot.gas_limit
        self.next = replace(snapshot.next)
        return True, snapshot.extra

    def reset(self) -> None:
        """Return to the first block, as it was before any direct change."""
        self._cut(1)
        self._altered.clear()
        self._snapshots.clear()
        self.clock.reset()
        self.coinbase, self.next = ZERO_ADDRESS, Next()
        self.gas_limit = self.head.header.gas_limit

    def _cut(self, height: int) -> None:
        removed = self._blocks[height:]
        for mined in removed:
            self._altered.pop(mined.hash, None)
            del self._by_hash[mined.hash]
            for transaction in mined.block.transactions:
                del self._by_transaction[transaction.hash]
        self._blocks = self._blocks[:height]  # a new list: states opened before keep the old one
        self.head = self._blocks[-1]
        for mined in reversed(removed):
            self.hub.removed_block(mined)

    # -- saving ---------------------------------------------------------------------------------

    def dump(self, pool: Iterable[SignedTransactionAPI]) -> SavedChain:
        """Return the whole chain, without its snapshots, for the state file."""
        return SavedChain(
            chain_id=self.chain_id,
            offset=self.clock.offset,
            blocks=[mined.saved() for mined in self._blocks],
            nodes=dict(self.store),
            pool=[transaction.encode() for transaction in pool],
            altered=dict(self._altered),
            genesis_file=self._genesis_file,
        )

    def _restore(self, saved: SavedChain) -> None:
        if saved.chain_id != self.chain_id:
            raise ValueError(
                f"the saved chain has the id {saved.chain_id}, not {self.chain_id}: "
                f"pass --chain-id {saved.chain_id}, or another file"
            )
        self.store.update(saved.nodes)
        self.clock.offset = saved.offset
        parent = GENESIS_PARENT_HASH
        try:
            for number, item in enumerate(saved.blocks):
                mined = restored(item, self.forks)
                if (mined.number, mined.header.parent_hash) != (number, parent):
                    raise ValueError(f"block {number} does not follow the one before it")
                if mined.header.state_root not in self.store:
                    raise ValueError(f"the state of block {number} is missing")
                self._append(mined)
                parent = mined.hash
            if not all(root in self.store for root in saved.altered.values()):
                raise ValueError("an altered state is missing")
        except (RLPException, ValidationError, TypeError, LookupError, ValueError) as error:
            raise ValueError(f"the saved chain is damaged: {error}") from error
        self._altered.update(saved.altered)
        self.gas_limit = self.head.header.gas_limit

    # -- internal -------------------------------------------------------------------------------

    def _append(self, mined: MinedBlock) -> None:
        # The header goes where the machine looks for the ancestors of a block (BLOCKHASH).
        self.store[mined.hash] = encode(mined.header)
        self._blocks.append(mined)
        self._by_hash[mined.hash] = mined
        for index, transaction in enumerate(mined.block.transactions):
            self._by_transaction[transaction.hash] = mined, index
        self.head = mined  # last, because other threads read it: the block must be complete
