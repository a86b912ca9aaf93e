"""The OpenRPC document of an API."""

from __future__ import annotations

from typing import Any

from npipe import rpc
from npipe.rpc.service.openrpc import document
from rpc.conftest import Wire
from rpc.thing import Thing


def test_discover_describes_the_types() -> None:
    api = rpc.API()
    api.register("eth", Thing())
    methods = {m["name"]: m for m in document(api.table(None))["methods"]}
    block = methods["eth_getBlockByNumber"]
    assert block["summary"] == "Return a block."
    assert block["description"] == "More about it."
    assert [(p["name"], p["required"], p["schema"]["type"]) for p in block["params"]] == [
        ("number", True, "integer"),
        ("full", False, "boolean"),
    ]
    assert block["result"]["schema"]["type"] == "object"
    wire = Wire(api)
    assert '"openrpc":"1.3.2"' in wire('{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}')[0]


def test_a_type_without_a_schema_costs_the_others_nothing() -> None:
    def odd(value: complex, number: int) -> None: ...

    api = rpc.API()
    api.register("x", {"odd": odd})
    methods = {m["name"]: m for m in document(api.table(None))["methods"]}
    assert [param["schema"] for param in methods["x_odd"]["params"]] == [{}, {"type": "integer"}]


def test_how_params_are_given_is_told() -> None:
    def by_name(*, key: int) -> None: ...

    def rest(first: int, *others: int) -> None: ...

    api = rpc.API()
    api.register("x", {"by_name": by_name, "rest": rest, "either": lambda a: a})
    methods: dict[str, Any] = {m["name"]: m for m in document(api.table(None))["methods"]}
    structures = [methods[f"x_{name}"]["paramStructure"] for name in ("byName", "rest", "either")]
    assert structures == ["by-name", "by-position", "either"]
    assert methods["x_rest"]["params"][1]["schema"] == {
        "type": "array",
        "items": {"type": "integer"},
    }
