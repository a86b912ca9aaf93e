"""Words of the command line to parameters."""

from __future__ import annotations

from typing import Any

import pytest

from npipe.cli.params import parse_named, parse_param, parse_params


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("0x1", "0x1"),
        ("latest", "latest"),
        ("true", True),
        ("null", None),
        ("7", 7),
        ("-7", -7),
        ("-1.5e3", -1500.0),
        ('"7"', "7"),
        ('"--wait"', "--wait"),
        ("{\"a\": [1]}", {"a": [1]}),
        ("", ""),
        ("a=b", "a=b"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("[", ValueError),
        ('{"a": }', ValueError),
        ('"open', ValueError),
        ("[NaN]", ValueError),
        ("[" * 100_000, ValueError),
        ("--typo", ValueError),
        ("-x", ValueError),
    ],
)  # fmt: skip
def test_a_word_is_json_or_a_string_or_a_mistake(word: str, value: Any) -> None:
    if value is ValueError:
        with pytest.raises(ValueError, match=r"not JSON|no such option"):
            parse_param(word)
    else:
        assert parse_param(word) == value


def test_lists_and_names() -> None:
    assert parse_params(["1", "x"]) == [1, "x"]
    assert parse_named(["a=1", "b=x=y", "c="]) == {"a": 1, "b": "x=y", "c": ""}
    for words in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ValueError, match=r"NAME=VALUE|twice"):
            parse_named(words)
