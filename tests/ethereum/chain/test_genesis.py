"""The first block: balances, code, and the contracts that blocks write to."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')


def test_the_first_block_has_the_balances_and_the_system_contracts(service: Any) -> None:
    from npipe.ethereum.chain.genesis import EXTRA, GAS_LIMIT
    from npipe.ethereum.evm import system_contracts

    chain = service.node.chain
    header, state = chain.blocks[0].header, chain.state()
    assert (header.gas_limit, header.extra_data, header.difficulty) == (GAS_LIMIT, EXTRA, 0)
    assert header.state_root == state.state_root
    assert {state.get_balance(account.address) for account in service.accounts} == {10**22}
    for address, code in system_contracts.CODES.items():
        assert (state.get_code(address), state.get_nonce(address)) == (code, 1)


def test_an_account_may_have_code_and_storage(service: Any) -> None:
    from npipe.ethereum.chain.genesis import GenesisAccount, made
    from npipe.ethereum.evm.machine import Machine

    chain, address = service.node.chain, b"\7" * 20
    states: list[Any] = []

    def state_at(header: Any) -> Any:
        states.append(chain.state(header))
        return states[-1]

    given = GenesisAccount(balance=5, nonce=2, code=b"\x60\x01", storage={3: 4})
    block = made(state_at, chain.blocks[0].header, {address: given}, Machine)
    (state,) = states
    assert (state.get_balance(address), state.get_nonce(address)) == (5, 2)
    assert (state.get_code(address), state.get_storage(address, 3)) == (b"\x60\x01", 4)
    assert block.header.state_root == state.state_root != chain.blocks[0].header.state_root
    assert block.receipts == ()
