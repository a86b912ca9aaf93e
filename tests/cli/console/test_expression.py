"""Lines of the console to calls."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.cli.console.expression import (
    Command,
    Invocation,
    RequestObject,
    is_complete,
    parse,
    pick,
    split_expressions,
)


@pytest.mark.parametrize(
    ("line", "method", "params", "path"),
    [
        ("eth_blockNumber", "eth_blockNumber", [], ()),
        ("eth.blockNumber", "eth_blockNumber", [], ()),
        ("eth.blockNumber;", "eth_blockNumber", [], ()),
        ("modules", "modules", [], ()),
        ("eth_getBlockByNumber('latest', false)", "eth_getBlockByNumber", ["latest", False], ()),
        ("eth_getBlockByNumber latest false", "eth_getBlockByNumber", ["latest", False], ()),
        ('x_y {"a":1} "two words"', "x_y", [{"a": 1}, "two words"], ()),
        ("eth.getBlock(latest)", "eth_getBlock", ["latest"], ()),
        ("eth.getBalance(0xAb)", "eth_getBalance", ["0xAb"], ()),
        ("a.b(-1, 2.5, 1e3, null)", "a_b", [-1, 2.5, 1000.0, None], ()),
        ("a.b({to: '0x1', \"n\": [1, [],], })", "a_b", [{"to": "0x1", "n": [1, []]}], ()),
        ("a.b( )", "a_b", [], ()),
        ("a.b()[0].c", "a_b", [], (0, "c")),
        ("a.b ('x')", "a_b", ["x"], ()),
        ("admin.nodeInfo.id", "admin_nodeInfo", [], ("id",)),
        ("eth_syncing.currentBlock", "eth_syncing", [], ("currentBlock",)),
        (r"a.b('it\'s', '\"', 'é')", "a_b", ["it's", '"', "é"], ()),
    ],
)
def test_a_call(line: str, method: str, params: list[Any], path: tuple[str | int, ...]) -> None:
    call = parse(line)
    assert isinstance(call, Invocation)
    assert (call.method, call.params, call.path) == (method, params, path)


def test_dotted_is_told_from_underscored() -> None:
    assert parse("eth.getBlock(1)") == Invocation("eth_getBlock", [1], (), True)
    assert parse("eth_getBlock(1)") == Invocation("eth_getBlock", [1], (), False)


def test_a_call_among_the_parameters() -> None:
    accounts = Invocation("eth_accounts", [], (0,), True)
    assert parse("eth.getBalance(eth.accounts[0])") == Invocation(
        "eth_getBalance", [accounts], (), True
    )
    sent = parse("eth.sendTransaction({from: eth.accounts[0], value: 1}).hash")
    assert sent == Invocation(
        "eth_sendTransaction", [{"from": accounts, "value": 1}], ("hash",), True
    )
    with pytest.raises(ValueError, match="nested too deep"):
        parse("a.b(" * 99 + ")" * 99)


def test_commands_requests_and_nothing() -> None:
    assert parse(" .subscribe eth newHeads ") == Command("subscribe", "eth newHeads")
    assert parse(".help") == Command("help", "")
    assert parse('{"method": "a",\n "params": [1]}') == RequestObject(
        {"method": "a", "params": [1]}
    )
    assert parse('[{"method": "a"}]') == RequestObject([{"method": "a"}])
    for line in ("", "  ", "// no", "# no"):
        assert parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "a.b(",
        "a.b(1",
        "a.b(1 2)",
        "a.b(1))",
        "a..b",
        "a. ",
        "1 + 1",
        "{}",
        "[]",
        "[1]",
        '{"method": 1}',
        "a.b().c()",
        "a.b.c()",
        "a.b[{}]",
        "a.b({1})",
        "a.b('x)",
        "a.b(" + "[" * 1000 + "]" * 1000 + ")",
        "a_b {1}",
        "a_b 'x",
        "a_b ./x",
        "?",
    ],
)
def test_what_is_no_expression_is_a_value_error_of_one_line(line: str) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        parse(line)


@given(st.text(alphabet="ab._()[]{}:,;'\"\\ 01x-\n", max_size=30) | st.text(max_size=30))
def test_any_text_is_parsed_or_a_value_error(text: str) -> None:
    is_complete(text)
    with contextlib.suppress(ValueError):
        parse(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(json_values, max_size=4))
def test_parameters_that_are_json_are_that_json(params: list[Any]) -> None:
    line = "a.b(" + ", ".join(json.dumps(param) for param in params) + ")"
    assert parse(line) == Invocation("a_b", params, (), True)
    assert is_complete(line)


def test_enter_opens_another_line_while_something_is_open() -> None:
    for text in ("a.b(", '{"a":', "a.b('x',", 'a.b("\\"",'):
        assert not is_complete(text)
    for text in ("a.b()", "", "a.b(')')", "a)", "a.b('x", 'a.b("\\"'):
        assert is_complete(text)


def test_pick_takes_a_part() -> None:
    assert pick({"a": [1, {"b": 2}]}, ("a", 1, "b")) == 2
    for path in (("x",), ("a", 7), ("a", "b"), ("a", 0, "c")):
        with pytest.raises(ValueError, match="no member"):
            pick({"a": [1]}, path)


@pytest.mark.parametrize(
    "line",
    [
        "eth.chainId // it's the id",
        "// what's this (\neth.chainId",
        "# don't [\neth.chainId",
        "eth.chainId /* it's {( */",
        "/* one\ntwo's ( */ eth.chainId",
        "\ufeffeth.chainId",
        "eth.chainId\r",
        "  # a 'comment'\r\neth.chainId\r\n",
    ],
)
def test_g1_a_comment_swallows_nothing(line: str) -> None:
    assert is_complete(line)
    assert parse(line) == Invocation("eth_chainId", [], (), True)


@pytest.mark.parametrize("line", ["// it's", "# (", "/* ' */", "  ", "\ufeff"])
def test_g1_a_comment_alone_asks_for_nothing(line: str) -> None:
    assert is_complete(line)
    assert parse(line) is None


def test_g1_a_string_holds_what_looks_like_a_comment() -> None:
    assert parse("a.b('http://x', \"/*\", '#')") == Invocation(
        "a_b", ["http://x", "/*", "#"], (), True
    )


def test_an_open_string_is_an_error_of_its_line_and_swallows_no_other() -> None:
    assert is_complete("a.b('c\n")
    with pytest.raises(ValueError, match="expected"):
        parse("a.b('c\n")


def test_an_open_comment_goes_on_in_the_next_line() -> None:
    assert not is_complete("/* eth.chainId\n")


def test_semicolons_in_comments_and_strings_split_nothing() -> None:
    assert split_expressions("a.b(';'); c.d // ;\n; /* ; */") == ["a.b(';')", " c.d // ;\n"]


def test_an_assignment_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no variables"):
        parse("x = 1")
