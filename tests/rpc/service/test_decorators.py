"""Options of served functions."""

from __future__ import annotations

import pytest

from npipe import rpc
from npipe.rpc.service.decorators import MARK, Options


def test_concurrency_must_be_a_number_of_calls() -> None:
    with pytest.raises(ValueError):
        rpc.method(concurrency=0)


def test_the_options_are_kept_on_the_function() -> None:
    @rpc.method
    def plain() -> None: ...

    @rpc.method(name="other", inline=True, concurrency=3)
    def given() -> None: ...

    @rpc.subscription
    def items() -> None: ...

    @rpc.subscription(name="more")
    def more() -> None: ...

    assert [getattr(each, MARK) for each in (plain, given, items, more)] == [
        Options(),
        Options("other", True, 3),
        Options(subscription=True),
        Options("more", subscription=True),
    ]
    assert given.__name__ == "given"  # it is the function itself
