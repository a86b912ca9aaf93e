"""State and block overrides in JSON."""

from __future__ import annotations

import msgspec
import pytest

from npipe.ethereum.values.overrides import BlockOverrides, StateOverride


def test_the_names_are_those_of_geth() -> None:
    account = msgspec.convert(
        {"movePrecompileToAddress": "0x" + "11" * 20, "stateDiff": {}}, StateOverride
    )
    assert (account.move_precompile_to_address, account.state_diff) == ("0x" + "11" * 20, {})
    block = msgspec.convert({"feeRecipient": "0x" + "11" * 20, "time": "0x5"}, BlockOverrides)
    assert (block.fee_recipient, block.time, block.number) == ("0x" + "11" * 20, "0x5", None)


@pytest.mark.parametrize(
    "bad", [{"code": "0x1"}, {"state": {"0x0": "0x0"}}, {"nonce": "0x" + "f" * 17}]
)
def test_values_are_those_of_the_protocol(bad: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, StateOverride)
