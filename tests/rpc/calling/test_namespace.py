"""Attributes as method names."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from npipe.rpc.calling.namespace import Namespace


def test_names_follow_the_rule_of_registering() -> None:
    calls: list[Any] = []

    def call(method: str, *params: Any, named: Any) -> None:
        calls.append((method, params, named))

    Namespace(call, "eth").get_block_by_number("latest", False)
    Namespace(call, "eth").blockNumber()
    Namespace(call, "my_ns").some_name(a=1)
    Namespace(call, "calc_addUp")(1)
    Namespace(call, "a").b.c()
    assert calls == [
        ("eth_getBlockByNumber", ("latest", False), None),
        ("eth_blockNumber", (), None),
        ("my_ns_someName", (), {"a": 1}),
        ("calc_addUp", (1,), None),
        ("a_b_c", (), None),
    ]


def test_what_python_looks_for_is_no_method() -> None:
    namespace = Namespace(print, "eth", "call")
    with pytest.raises(AttributeError):
        _ = namespace._private
    assert copy.copy(namespace) is not None
    assert repr(namespace) == "<methods eth_call>"
