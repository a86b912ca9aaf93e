"""py-evm's machine as it is changed for a fork."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from eth.vm.forks.frontier import FrontierVM
from eth.vm.forks.prague import PragueVM
from eth_utils import ValidationError

from npipe.ethereum.evm.blobs import CANCUN
from npipe.ethereum.evm.frame import FrontierFrameMixin
from npipe.ethereum.evm.machine import Computation, Machine, adapt


def test_a_fork_is_adapted_once_for_each_schedule_of_blobs() -> None:
    assert adapt(PragueVM) is Machine
    assert adapt(PragueVM, CANCUN) is not Machine
    assert adapt(PragueVM, CANCUN)._state_class.blob_schedule is CANCUN
    assert issubclass(adapt(FrontierVM)._state_class.computation_class, FrontierFrameMixin)
    assert not issubclass(Computation, FrontierFrameMixin)


def test_the_opcodes_are_methods_and_have_their_mnemonics() -> None:
    assert Computation.mnemonics[0x01] == "ADD"
    assert {type(operation).__name__ for operation in Computation.opcodes.values()} <= {
        *("method", "function"),
    }


def test_a_transaction_without_the_gas_for_its_size_is_invalid(service: Any) -> None:
    from npipe.ethereum.chain import transactions
    from npipe.ethereum.values.types import TransactionRequest

    chain, account = service.node.chain, service.accounts[0]
    request = TransactionRequest(to="0x" + "11" * 20, input="0x" + "ff" * 100)
    made = transactions.unsigned(request, chain_id=1337, nonce=0, gas=24_999, fees=(10**10, 10**9))
    signed = transactions.sign(made, account.key, 1337)
    with pytest.raises(ValidationError, match="the gas is less than the transaction's size costs"):
        chain.state().apply_transaction(signed)
