"""Faults of parameters in geth's words: what no comparison with geth itself covers (test_geth)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.errors import InvalidParams
from npipe.ethereum.chain.logs import LogCriteria
from npipe.ethereum.geth_errors import format_error
from npipe.ethereum.values.types import Address, BlockId, Data, Quantity, TransactionRequest
from npipe.rpc.service.binding import inspect_function


class Nobody:
    """A context that no function here wants."""


def everything(
    address: Address,
    block: BlockId,
    request: TransactionRequest,
    logs: LogCriteria,
    octets: Data,
    number: Quantity | None = None,
    slots: dict[Address, list[int]] | None = None,
) -> None:
    """One parameter of each kind."""


SIGNATURE = inspect_function(everything, Nobody, format_error)
A = "0x" + "11" * 20
GOOD: list[Any] = [A, "latest", {}, {}, "0x"]


def fault(params: Any) -> str:
    with pytest.raises(InvalidParams) as caught:
        SIGNATURE.bind(msgspec.Raw(msgspec.json.encode(params)))
    return caught.value.message


def test_good_ones_are_no_fault() -> None:
    assert SIGNATURE.bind(msgspec.Raw(msgspec.json.encode(GOOD)))[0] == A


def test_what_geth_would_take_is_told_in_msgspecs_words() -> None:
    assert fault([A, "latest", {}, {"address": A, "topics": []}, "0x", True]).startswith(
        "invalid argument 5: json: cannot unmarshal non-string into Go value of type *hexutil.Big"
    )
    assert fault([*GOOD, None, {A: ["x"]}]).startswith("invalid argument 6: ")


def test_by_name_it_is_told_as_everywhere() -> None:
    assert fault({"address": "0x1"}).startswith("invalid params: Expected `str`")


def test_no_params_at_all_lack_the_first() -> None:
    for params in (b"", b"null", b"[]"):
        with pytest.raises(InvalidParams, match="missing value for required argument 0"):
            SIGNATURE.bind(msgspec.Raw(params))


def test_what_comes_before_is_counted() -> None:
    error = msgspec.ValidationError("Expected `str`, got `int` - at `$[0]`")
    assert format_error(SIGNATURE.parameters, b'["0x"]', error, at=1).startswith(
        "invalid argument 1: "
    )
    six = [*SIGNATURE.parameters[:1]]
    assert format_error(six, b'["0x' + b"1" * 40 + b'", 2]', error, at=1) == (
        "too many arguments, want at most 2"
    )


_texts = st.text(max_size=70) | st.sampled_from([A, "0x", "0x1", "latest", "0x" + "2" * 64])
_names = (
    st.sampled_from(["to", "value", "accessList", "topics", "address", "blockHash", A]) | _texts
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(_values, max_size=8))
def test_there_are_words_for_everything(params: list[Any]) -> None:
    try:
        SIGNATURE.bind(msgspec.Raw(msgspec.json.encode(params)))
    except InvalidParams as error:
        assert error.message.startswith(
            ("invalid argument ", "missing value", "too many", "invalid")
        )
