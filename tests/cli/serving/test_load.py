"""Tests of npipe.cli.serving.load: what ``--api`` names."""

from __future__ import annotations

import pytest

from npipe.cli.common import LoadError
from npipe.cli.serving.load import load, own_api, split


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("shop=a.b:Shop", ("shop", "a.b", "Shop")),
        ("a.b:orders", ("orders", "a.b", "orders")),
        ("a.b:Shop.inner", ("inner", "a.b", "Shop.inner")),
        ("a.b", ("b", "a.b", "")),
    ],
)
def test_split(text: str, parts: tuple[str, str, str]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize("text", ["", "=a:b", "x=", ":b"])
def test_what_names_no_module_is_refused(text: str) -> None:
    with pytest.raises(LoadError, match="not of the form"):
        split(text)


def test_a_class_is_called_and_anything_else_is_served_as_it_is() -> None:
    assert load("collections", "OrderedDict") == {}
    assert load("string", "digits") == "0123456789"


@pytest.mark.parametrize(
    ("module", "path", "named"),
    [("no_such_module", "", "cannot load no_such_module: "), ("os", "no", "cannot load os:no: ")],
)
def test_a_failure_names_what_was_asked_for(module: str, path: str, named: str) -> None:
    with pytest.raises(LoadError, match=named):
        load(module, path)


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(LoadError, match="no such module: b; choose from a"):
        own_api(["a=string"], ["b"])
