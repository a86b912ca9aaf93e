"""Makes the chain and the objects of its namespaces. Imports py-evm."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from npipe.ethereum.api.admin import Admin
from npipe.ethereum.api.anvil import Anvil
from npipe.ethereum.api.debug import Debug
from npipe.ethereum.api.eth_blocks import EthBlocks
from npipe.ethereum.api.eth_config import EthConfig
from npipe.ethereum.api.eth_fees import EthFees
from npipe.ethereum.api.eth_filters import EthFilters
from npipe.ethereum.api.eth_state import EthState
from npipe.ethereum.api.eth_subscriptions import EthSubscriptions
from npipe.ethereum.api.eth_transactions import EthTransactions
from npipe.ethereum.api.evm import Ganache
from npipe.ethereum.api.miner import Miner
from npipe.ethereum.api.personal import Personal
from npipe.ethereum.api.txpool import TxPool
from npipe.ethereum.chain.accounts import derive
from npipe.ethereum.chain.chain import Chain
from npipe.ethereum.chain.state_file import StateFile
from npipe.ethereum.node.node import Node

if TYPE_CHECKING:
    from npipe.ethereum.service import Service

__all__ = ["build"]

_MAX_ACCOUNTS = 10_000
MIN_BLOCK_TIME, MAX_BLOCK_TIME = 0.001, 86_400  # seconds


def build(
    service: Service,
    *,
    count: int,
    balance: int,
    mnemonic: str,
    block_time: float | None,
    state_file: str | os.PathLike[str] | None,
    genesis_file: bytes = b"",
    blocks: bytes = b"",
) -> dict[str, list[Any]]:
    """Fill in the service and return the parts of each namespace that needs a chain."""
    if not 0 <= count <= _MAX_ACCOUNTS:
        raise ValueError(f"{count} accounts: the number must be between 0 and {_MAX_ACCOUNTS}")
    if not 0 <= balance < 2**255:
        raise ValueError(f"a balance of {balance} wei: it must be at least 0 and less than 2**255")
    if block_time is not None and not MIN_BLOCK_TIME <= block_time <= MAX_BLOCK_TIME:
        raise ValueError(
            f"a block time of {block_time} seconds: it must be between {MIN_BLOCK_TIME} and "
            f"{MAX_BLOCK_TIME} (a day)"
        )
    accounts = derive(mnemonic, count)
    balances = {account.address: balance for account in accounts}
    with ExitStack() as closing:  # undone in reverse order
        file = None if state_file is None else StateFile(state_file)
        if file is not None:
            closing.callback(file.close)
        saved = None if file is None else file.load()
        if saved is not None and genesis_file and saved.genesis_file != genesis_file:
            raise ValueError(f"{state_file} has a chain of another genesis file: pass that one")
        chain = Chain(balances, chain_id=service.chain_id, saved=saved, genesis_file=genesis_file)
        if saved is None and blocks:
            chain.import_blocks(blocks)
        node = Node(chain, accounts, block_time=block_time)
        closing.callback(node.worker.trials.close)
        if saved is not None:
            node.restore_pool(saved)
        if file is not None:
            closing.callback(_save, file, node)
        closing.callback(node.worker.stop)  # the first to be done: the state is saved soon
        service._closing = closing.pop_all()
    service.chain_id, service.node = chain.chain_id, node
    service.accounts, service.balance, service.mnemonic = accounts, balance, mnemonic
    return {
        "eth": [
            EthBlocks(node),
            EthState(node),
            EthTransactions(node),
            EthFees(node),
            EthFilters(node),
            EthSubscriptions(node.hub),
            EthConfig(node),
        ],
        "evm": [Ganache(node)],
        "anvil": [Anvil(node)],
        "hardhat": [Anvil(node)],
        "debug": [Debug(node)],
        "txpool": [TxPool(node)],
        "admin": [Admin(node, os.path.abspath(state_file) if state_file else "")],
        "personal": [Personal(node)],
        "miner": [Miner(node)],
    }


def _save(file: StateFile, node: Node) -> None:
    file.save(node.dump())
