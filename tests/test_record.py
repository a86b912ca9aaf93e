"""npipe.record: values with named fields."""

from __future__ import annotations

import copy
import pickle

import pytest

from npipe.address import Address
from npipe.security import PeerIdentity

ONE = PeerIdentity(pid=7, uid=1000)


def test_equal_by_fields_and_by_type() -> None:
    assert PeerIdentity(7, 1000) == ONE
    assert PeerIdentity(7, 1001) != ONE
    assert ONE != (7, 1000, None, None, None)
    assert Address("unix", "/x") != ONE
    assert len({ONE, PeerIdentity(7, 1000), PeerIdentity()}) == 2


def test_printed_as_it_is_made() -> None:
    assert repr(Address("unix", "/x")) == "Address(kind='unix', path='/x', host=None)"


def test_copied_and_pickled() -> None:
    assert pickle.loads(pickle.dumps(ONE)) == copy.deepcopy(ONE) == ONE


def test_frozen() -> None:
    with pytest.raises(AttributeError, match="uid cannot be changed"):
        ONE.uid = 0
    with pytest.raises(AttributeError):
        del ONE.uid
    with pytest.raises(AttributeError):
        ONE.new = 1  # type: ignore[attr-defined]
