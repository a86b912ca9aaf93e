"""Which logs are wanted, and how many one request may have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from npipe.errors import RPCError
from npipe.ethereum.chain import logs
from npipe.ethereum.chain.logs import LogCriteria, Wanted, matching
from npipe.ethereum.errors import ChainError

A, B = "0x" + "0a" * 20, "0x" + "0b" * 20
ONE, TWO = f"0x{1:064x}", f"0x{2:064x}"


def entry(address: str = A, *topics: int) -> Any:
    return SimpleNamespace(address=bytes.fromhex(address[2:]), topics=topics)


@pytest.mark.parametrize(
    ("criteria", "log", "wanted"),
    [
        ({}, entry(A), True),
        ({"address": A}, entry(B), False),
        ({"address": [A, B]}, entry(B), True),
        ({"topics": [ONE]}, entry(A, 1, 2), True),
        ({"topics": [ONE]}, entry(A, 2), False),
        ({"topics": [None, TWO]}, entry(A, 9, 2), True),
        ({"topics": [None, TWO]}, entry(A, 9), False),
        ({"topics": [None]}, entry(A), False),
        ({"topics": [[ONE, TWO]]}, entry(A, 2), True),
        ({"topics": [[ONE, None]]}, entry(A, 7), True),
        ({"topics": [[]]}, entry(A, 7), True),
    ],
)
def test_a_log_matches_by_address_and_topics(criteria: Any, log: Any, wanted: bool) -> None:
    assert Wanted(msgspec.convert(criteria, LogCriteria)).matches(log) is wanted


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ({"blockHash": ONE, "fromBlock": "0x1"}, "cannot specify both BlockHash and FromBlock"),
        ({"topics": [None] * 5}, "exceed max topics"),
    ],
)
def test_criteria_that_contradict_themselves_are_refused(criteria: Any, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(criteria, LogCriteria)


def test_a_place_has_at_most_a_thousand_choices() -> None:
    Wanted(LogCriteria(address=[A] * 1000))
    for criteria in (LogCriteria(address=[A] * 1001), LogCriteria(topics=[None, [ONE] * 1001])):
        with pytest.raises(ChainError, match="exceed max addresses or topics"):
            Wanted(criteria)


def test_one_request_looks_at_so_many_blocks_and_returns_so_many_logs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "_MAX_BLOCKS", 2)
    monkeypatch.setattr(logs, "_MAX_LOGS", 3)
    wanted: Any = SimpleNamespace(in_block=lambda mined: iter([{}] * mined))
    assert len(matching([1, 2], wanted)) == 3
    with pytest.raises(RPCError, match="query returned more than 3 results"):
        matching([2, 2], wanted)
    with pytest.raises(ChainError, match="exceed maximum block range: 2"):
        matching([0, 0, 0], wanted)
