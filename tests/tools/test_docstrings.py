"""The check of docstrings finds missing sections, units and results."""

from __future__ import annotations

from pathlib import Path

import pytest

import docstrings


def good(size: int, timeout: float | None = None) -> bytes:
    """Read bytes.

    Args:
        size: The largest number of bytes.
        timeout: Seconds to wait; None: no limit.

    Returns:
        The bytes.
    """
    raise NotImplementedError(size, timeout)


def bad(size: int, timeout: float | None = None) -> bytes:
    """Who reads is never dropped.

    Args:
        timeout: How long it waits.
    """
    raise NotImplementedError(size, timeout)


def test_what_a_docstring_lacks_is_found() -> None:
    assert list(docstrings.findings("good", good)) == []
    assert list(docstrings.findings("bad", bad)) == [
        "bad opens with a free relative clause: Who reads is never dropped.",
        "bad does not describe under Args: size",
        "bad does not name the unit of timeout",
        "bad has no Returns:",
    ]


def test_a_method_of_the_chain_says_what_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eth.py").write_text(
        "class Eth:\n"
        "    def balance(self) -> str:\n        '''The balance of somebody's account.'''\n"
        "    def mine(self) -> None:\n        '''Add a block to the chain.'''\n"
        "    def sign(self) -> str:\n        '''Return a signature (EIP-191).'''\n"
        "    def call(self) -> str:\n        '''Return the output.\n\n        Source: geth.'''\n"
        "    def fee(self) -> str:\n        '''0.'''\n"
    )
    monkeypatch.setattr(docstrings, "CHAIN_METHODS", tmp_path)
    assert list(docstrings.chain_findings()) == [
        "npipe.ethereum.api.eth.balance does not say what it returns (str)",
        "npipe.ethereum.api.eth.mine names no source: an EIP, or a documentation",
        "npipe.ethereum.api.eth.fee has no docstring for users",
    ]


def test_the_docstrings_of_the_project_are_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert docstrings.main() == 0, capsys.readouterr().out
