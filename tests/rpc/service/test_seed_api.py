"""API objects of the older shape."""

from __future__ import annotations

from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.service.seed_api import Request, seed_method
from rpc.conftest import Wire


class Seed:
    """The four members of the seed's API."""

    name = "old"
    version = "1.0"

    def methods(self) -> list[str]:
        return ["old_echo", "plain"]

    def execute(self, request: Request) -> Any:
        if request.method == "plain":
            raise rpc.MethodNotFound("plain method not implemented")
        return [request.method, request.params.decode()]


def test_the_seed_s_shape_merges_as_it_is() -> None:
    api = rpc.API()
    api.merge(Seed())
    wire = Wire(api)
    assert wire('{"jsonrpc":"2.0","id":1,"method":"old_echo","params":[1.50]}') == [
        '{"jsonrpc":"2.0","id":1,"result":["old_echo","[1.50]"]}'
    ]
    assert wire('{"jsonrpc":"2.0","id":1,"method":"old_echo","params":[]}') == [
        '{"jsonrpc":"2.0","id":1,"result":["old_echo","[]"]}'
    ]
    assert wire('{"jsonrpc":"2.0","id":1,"method":"old_echo"}') == [
        '{"jsonrpc":"2.0","id":1,"result":["old_echo",""]}'
    ]
    assert "-32601" in wire('{"jsonrpc":"2.0","id":1,"method":"plain"}')[0]
    assert api.modules() == {"rpc": "1.0", "old": "1.0"}


def test_a_name_that_is_taken_is_refused() -> None:
    api = rpc.API()
    api.merge(Seed())
    with pytest.raises(ValueError, match="old_echo is registered already"):
        api.merge(Seed())


def test_the_params_are_passed_as_they_came() -> None:
    made = seed_method(Seed(), "old_echo")
    assert made.function(b'{"a": 1.50}') == ["old_echo", '{"a": 1.50}']
