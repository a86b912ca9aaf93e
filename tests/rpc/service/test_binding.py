"""Parameters to arguments."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Raw

from npipe.errors import InvalidParams, InvalidRequest
from npipe.rpc.service.binding import inspect_function
from npipe.rpc.service.context import Context


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


def two(a: int, b: str) -> Any:
    return a, b


def trailing(a: int, b: list[int] | None = None, c: str = "c") -> Any:
    return a, b, c


def rest(a: int, *others: str) -> Any:
    return a, others


def keyword(a: int, *, b: int, c: int = 3) -> Any:
    return a, b, c


def optional_keyword(a: int = 1, *, c: int = 3) -> Any:
    return a, c


def with_context(a: int, context: Context, b: int = 2) -> Any:
    return a, context, b


def rest_with_context(context: Context, *others: int) -> Any:
    return context, others


def record(point: Point) -> Any:
    return point


def untyped(a, b=None):  # type: ignore[no-untyped-def]
    return a, b


def nothing() -> Any:
    return ()


def odd_names(jsonrpc: int, self: int, p0: int = 0) -> Any:
    return jsonrpc, self, p0


def call(function: Any, params: bytes) -> Any:
    signature = inspect_function(function, Context)
    context = ("context",) if signature.wants_context else ()
    return signature.call(*context, *signature.bind(Raw(params)))


@pytest.mark.parametrize(
    ("function", "params", "result"),
    [
        (two, b'[1,"x"]', (1, "x")),  # r16
        (two, b'{"b":"x","a":1}', (1, "x")),  # r17
        (trailing, b"[1]", (1, None, "c")),
        (trailing, b"[1,[2]]", (1, [2], "c")),
        (trailing, b'{"a":1,"c":"d"}', (1, None, "d")),
        (rest, b"[1]", (1, ())),
        (rest, b'[1,"x","y"]', (1, ("x", "y"))),
        (rest, b'{"a":1}', (1, ())),
        (keyword, b'{"a":1,"b":2}', (1, 2, 3)),
        (optional_keyword, b"", (1, 3)),
        (optional_keyword, b"[5]", (5, 3)),
        (optional_keyword, b'{"c":5}', (1, 5)),
        (with_context, b"[1]", (1, "context", 2)),
        (with_context, b'{"a":1,"b":5}', (1, "context", 5)),
        (rest_with_context, b"[1,2]", ("context", (1, 2))),
        (record, b'[{"x":1}]', Point(1)),
        (untyped, b'[{"any":[1]}]', ({"any": [1]}, None)),
        (nothing, b"", ()),
        (nothing, b"null", ()),
        (nothing, b"[]", ()),
        (nothing, b"{}", ()),
        (odd_names, b'{"jsonrpc":1,"self":2}', (1, 2, 0)),
    ],
)
def test_bound(function: Any, params: bytes, result: object) -> None:
    assert call(function, params) == result


@pytest.mark.parametrize(
    ("function", "params", "reason"),
    [
        (two, b"[1]", "length 2"),
        (two, b'[1,"x",2]', "length 2"),
        (two, b'["x","y"]', r"Expected `int`, got `str` - at `\$\[0\]`"),
        (two, b'{"a":1}', "missing required field `b`"),
        (two, b'{"a":1,"B":"x"}', "unknown field `B`"),  # r17: also the case
        (two, b"null", "length 2"),
        (trailing, b'[1,[2,"x"]]', r"\$\[1\]\[1\]"),
        (trailing, b'[1,[2],"c",4]', "length 3"),
        (rest, b'[1,"x",2]', "Expected `str`"),
        (rest, b"[]", "length 1"),
        (keyword, b"[1,2]", "by name"),
        (record, b'[{"x":"1"}]', r"\$\[0\]\.x"),
        (nothing, b"[1]", "length 0"),
        (two, b'[1,"\\ud800"]', "invalid params"),
    ],
)
def test_r29_invalid_params_say_where_and_why(function: Any, params: bytes, reason: str) -> None:
    with pytest.raises(InvalidParams, match=reason):
        call(function, params)


@pytest.mark.parametrize("params", [b"1", b'"x"', b"true"])
def test_r07_params_of_no_kind_make_no_request(params: bytes) -> None:
    with pytest.raises(InvalidRequest):
        call(two, params)


def test_defaults_are_not_shared() -> None:
    default: list[int] = []

    def function(items: list[int] = default) -> list[int]:
        return items

    assert call(function, b"") is default  # as Python itself would


def test_what_cannot_be_served_is_said_at_registration() -> None:
    def options(**named: int) -> None: ...

    def both(*a: int, b: int) -> None: ...

    for function in (options, both):
        with pytest.raises(TypeError, match="cannot be served"):
            inspect_function(function, Context)


def test_annotations_that_cannot_be_found_are_said_at_registration() -> None:
    def function(a: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="Missing"):
        inspect_function(function, Context)


def test_callable_objects_are_served() -> None:
    class Adder:
        def __call__(self, a: int, b: int) -> int:
            return a + b

    assert call(Adder(), b"[1,2]") == 3


def test_msgspec_constraints_hold() -> None:
    def positive(a: Annotated[int, msgspec.Meta(gt=0)]) -> int:
        return a

    assert call(positive, b"[1]") == 1
