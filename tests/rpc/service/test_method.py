"""From an object to its served functions: which ones are public, and their names."""

from __future__ import annotations

import types
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.service.binding import inspect_function
from npipe.rpc.service.context import Context
from npipe.rpc.service.decorators import Options
from npipe.rpc.service.method import Method, camel_case, public_functions
from rpc.thing import Thing, names


def test_an_object_s_public_methods_are_served() -> None:
    api = rpc.API()
    api.register("eth", Thing())
    assert names(api) == {
        "eth_getBlockByNumber",
        "eth_alreadyCamel",
        "eth_other",
        "eth_static",
        "eth_klass",
    }


def test_a_module_s_own_functions_are_served() -> None:
    module = types.ModuleType("thing")
    exec("def f(): ...\ndef _g(): ...\nfrom os.path import join", module.__dict__)
    api = rpc.API()
    api.register("mod", module)
    assert names(api) == {"mod_f"}


def test_a_mapping_of_functions_is_served() -> None:
    api = rpc.API()
    api.register("", {"text_document": lambda: 1, "x": max.__class__.__call__} | {"x": lambda: 2})
    assert names(api) == {"textDocument", "x"}


@pytest.mark.parametrize("target", [Thing, object(), 3])
def test_what_has_nothing_to_serve_is_refused(target: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        rpc.API().register("x", target)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get_block_by_number", "getBlockByNumber"),
        ("already", "already"),
        ("newHeads", "newHeads"),
        ("sign_typed_data_v4", "signTypedDataV4"),
        ("a__b", "aB"),
    ],
)
def test_names_are_in_camel_case(name: str, expected: str) -> None:
    assert camel_case(name) == expected


def test_no_property_is_run_to_find_the_functions() -> None:
    assert set(public_functions(Thing())) == {
        *("get_block_by_number", "already_camel", "named", "static", "klass"),
    }


@pytest.mark.parametrize(
    ("options", "fast", "own_thread"),
    [
        (Options(), False, False),
        (Options(inline=True), True, False),
        (Options(inline=False), False, True),
        (Options(concurrency=1), False, True),
        (Options(inline=True, concurrency=1), False, True),
    ],
)
def test_where_a_method_may_run_follows_from_its_options(
    options: Options, fast: bool, own_thread: bool
) -> None:
    def f() -> None:
        """Do it."""

    made = Method("f", inspect_function(f, Context), options, False, f)
    assert (made.fast, made.own_thread, made.documentation) == (fast, own_thread, "Do it.")
