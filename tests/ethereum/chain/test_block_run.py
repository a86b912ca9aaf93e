"""One block while its transactions are run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')


@pytest.fixture
def run(service: Any) -> Callable[[], Any]:
    """Begins a block on the head of a new chain."""
    from npipe.ethereum.chain.block_run import BlockRun

    chain = service.node.chain
    header = chain.next_header()
    return lambda: BlockRun(chain.vm(header), chain.forks.of_header(header).blobs)


def signed(service: Any, **fields: Any) -> Any:
    from npipe.ethereum.values.types import TransactionRequest

    alice, bob = service.accounts[:2]
    request = TransactionRequest(from_=f"0x{alice.address.hex()}", to=f"0x{bob.address.hex()}")
    for name, value in {"gas": "0x5208", **fields}.items():
        setattr(request, name, value)
    return service.node.worker.run_steps(service.node.sign(request))


def test_a_transaction_that_does_not_fit_changes_nothing(
    service: Any, run: Callable[[], Any]
) -> None:
    with_it, without = run(), run()
    assert with_it.add(signed(service, nonce="0x9")) is False
    assert "nonce" in with_it.reason.lower()
    transfer = signed(service)
    assert with_it.add(transfer) and without.add(transfer)
    blocks = [each.seal() for each in (with_it, without)]
    assert blocks[0].hash == blocks[1].hash
    assert [item.hash for item in blocks[0].block.transactions] == [transfer.hash]
    assert blocks[0].header.gas_used == blocks[0].gas_used(0) == 21_000


def test_a_header_begins_without_what_transactions_add(service: Any) -> None:
    from npipe.ethereum.chain.block_run import begun

    chain = service.node.chain
    transfer = signed(service)
    mined = service.node.worker.call(chain.mine, [transfer])
    root = chain.blocks[0].header.state_root
    header = begun(mined.header, root)
    assert (header.gas_used, header.bloom, header.state_root) == (0, 0, root)
    assert header.transaction_root != mined.header.transaction_root
    assert header.timestamp == mined.header.timestamp
