"""The limits: all of them have a reason, and none can be changed."""

from __future__ import annotations

import dataclasses
import re

import pytest

from npipe import rpc
from npipe.rpc.limits import Limits


def test_each_limit_is_documented_and_all_but_one_are_on() -> None:
    fields = [field.name for field in dataclasses.fields(Limits)]
    assert Limits.__doc__ is not None
    # Python 3.13 removes the common indentation of a docstring.
    documented = re.findall(r"^ +(\w+): ", Limits.__doc__, re.MULTILINE)
    assert [name for name in fields if name not in documented] == []
    assert [name for name in fields if getattr(Limits(), name) is None] == ["idle_timeout"]


def test_they_are_named_and_constant() -> None:
    limits = rpc.Limits(calls=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.calls = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Limits(5)  # type: ignore[misc]


def test_a_subscriber_that_reads_nothing_ends_before_its_connection_does() -> None:
    limits = Limits()
    assert limits.subscription_timeout is not None
    assert limits.write_timeout is not None
    assert limits.subscription_timeout < limits.write_timeout
