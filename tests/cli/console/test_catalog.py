"""The catalog of a server's methods."""

from __future__ import annotations

from typing import Any

from npipe.cli.console.catalog import discover
from npipe.errors import MethodNotFound


def server(**answers: Any) -> Any:
    """Return a ``call`` that knows these methods only (``__`` stands for a dot)."""

    def call(method: str) -> Any:
        try:
            return answers[method.replace(".", "__")]
        except KeyError:
            raise MethodNotFound from None

    return call


OPENRPC = {
    "openrpc": "1.2.6",
    "methods": [
        {
            "name": "math_add",
            "summary": "Add two numbers.\nMore.",
            "params": [{"name": "a", "required": True}, {"name": "b"}],
        },
        {"name": "rpc.discover", "params": []},
        {"name": "modules"},
        # from here on, what a hostile or careless server may say
        {"name": 7},
        None,
        {"name": "odd_one", "params": [None, {}, {"name": 3}]},
        {"name": "odd_two", "params": "x", "summary": 9},
    ],
}


def test_openrpc_gives_methods_parameters_and_modules() -> None:
    catalog = discover(server(rpc__discover=OPENRPC))
    assert catalog.exact
    method = catalog.find("math.add")
    assert method is not None
    assert method.signature() == "math_add(a, [b])"
    assert method.summary == "Add two numbers."
    assert list(catalog.modules) == ["math", "odd"]


def test_rpc_modules_choose_among_the_well_known_methods() -> None:
    catalog = discover(server(rpc_modules={"net": "1.0", "shop": "1.0"}))
    assert not catalog.exact
    assert catalog.complete("net") == ["net."]
    assert catalog.complete("sh") == ["shop."]
    assert catalog.complete("eth_") == []


def test_a_server_that_tells_nothing_is_taken_for_an_ethereum_node() -> None:
    catalog = discover(server())
    assert "eth_getBlockByNumber" in catalog.methods
    assert {"eth", "net", "web3"} <= set(catalog.modules)


def test_completion_keeps_the_spelling() -> None:
    catalog = discover(server(rpc__discover=OPENRPC))
    assert catalog.complete("ma") == ["math."]
    assert catalog.complete("math.") == ["math.add"]
    assert catalog.complete("math_a") == ["math_add"]
    assert catalog.complete("mod") == ["modules"]
    assert catalog.complete("rpc.") == ["rpc.discover"]


def test_geth_s_names_in_javascript_are_offered_where_they_mean_something() -> None:
    methods = [
        {"name": "eth_getBlockByNumber", "summary": "A block, ``full`` or not.", "params": []},
        {"name": "shop_getBlock", "params": []},
    ]
    catalog = discover(server(rpc__discover={"methods": methods}))
    assert catalog.complete("eth.getBl") == ["eth.getBlock", "eth.getBlockByNumber"]
    assert catalog.complete("eth.getTr") == []
    described = catalog.describe("eth.getBlock")
    assert described is not None
    assert described.summary == "A block, full or not."  # no marks of the docstring
    assert catalog.find("eth.getBlock") is None  # it is to be translated, not called
