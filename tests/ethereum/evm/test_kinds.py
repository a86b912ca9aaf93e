"""The type of a transaction that is not signed yet."""

from __future__ import annotations

from types import SimpleNamespace

from npipe.ethereum.evm.kinds import kind_of


def test_the_oldest_kind_names_none() -> None:
    assert [kind_of(each) for each in (object(), SimpleNamespace(_type_id=None))] == [0, 0]
    assert kind_of(SimpleNamespace(_type_id=2)) == 2
