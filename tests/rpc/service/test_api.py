"""The registry: names, namespaces, and the peers that may use them."""

from __future__ import annotations

from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.service.openrpc import document
from npipe.security import PeerIdentity
from rpc.thing import Thing


def test_rpc_bug_19_no_empty_names(api: rpc.API) -> None:
    assert "" not in api.methods
    assert "" not in api.modules()


def test_a_taken_name_is_refused() -> None:
    api = rpc.API()
    api.register("eth", Thing())
    with pytest.raises(ValueError, match="eth_other is registered already"):
        api.register("eth", {"other": lambda: 1})
    api.register("eth", {"another": lambda: 1})  # a namespace in several parts
    assert "eth_another" in api.methods


def test_r06_r41_names_of_the_system_s_own_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rpc\."):
        rpc.API().register("", {"rpc.mine": lambda: 1})


def test_generators_must_be_marked() -> None:
    def generator() -> Any:
        yield 1

    with pytest.raises(TypeError, match="subscription"):
        rpc.API().register("x", {"generator": generator})
    with pytest.raises(TypeError, match="generator"):
        rpc.API().register("x", {"plain": rpc.subscription(lambda: 1)})


def test_namespaces_are_for_those_who_may() -> None:
    api = rpc.API()
    api.register("open", {"f": lambda: 1})
    api.register("admin", {"f": lambda: 2}, version="2.0", allow=lambda peer: peer.uid == 0)
    root, other = PeerIdentity(uid=0), PeerIdentity(uid=1000)
    assert "admin_f" in api.table(root)
    assert "admin_f" not in api.table(other)
    assert "admin_f" not in api.table(None)
    assert api.modules(root) == {"rpc": "1.0", "open": "1.0", "admin": "2.0"}
    assert api.modules(other) == {"rpc": "1.0", "open": "1.0"}
    described = {m["name"] for m in document(api.table(other))["methods"]}
    assert "admin_f" not in described
    assert "open_f" in described


def test_a_single_function() -> None:
    api = rpc.API()

    def add_up(a: int, b: int) -> int:
        return a + b

    api.register("calc", add_up)
    api.register("one", {"add": add_up})
    assert {"calc_addUp", "one_add"} <= set(api.methods)
    with pytest.raises(ValueError, match="has no name: register a mapping"):
        api.register("calc", lambda: 1)


def test_a_decorator_of_the_api_gives_the_whole_name() -> None:
    api = rpc.API()
    api.register("calc", {"one": lambda: 1}, version="2.0")

    @api.method("calc_add", inline=True)
    def add(a: int, b: int) -> int:
        return a + b

    @api.method
    def ping() -> str:
        return "pong"

    @api.method("textDocument/hover", concurrency=1)
    async def hover() -> None:
        pass

    assert add(1, 2) == 3
    assert ping() == "pong"
    assert api.methods["calc_add"].fast
    assert api.methods["ping"].function is ping
    assert api.methods["textDocument/hover"].own_thread
    assert api.modules()["calc"] == "2.0"
    with pytest.raises(ValueError, match="registered already"):
        api.method("calc_add")(add)
    with pytest.raises(ValueError, match="at least 1"):
        api.method("calc_more", concurrency=0)
    with pytest.raises(TypeError, match="generator"):

        @api.method("calc_count")
        def count() -> Any:
            yield 1


def test_what_a_namespace_allows_holds_for_a_method_that_is_added() -> None:
    api = rpc.API()
    api.register("admin", {"stop": lambda: None}, allow=lambda peer: False)
    api.method("admin_add")(lambda: None)
    assert not {"admin_stop", "admin_add"} & set(api.table(PeerIdentity(pid=1)))
