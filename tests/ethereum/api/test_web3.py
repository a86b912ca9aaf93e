"""The namespace web3: the server's name, and Keccak-256."""

from __future__ import annotations

import re
import sys

import pytest

from npipe.errors import InternalError
from npipe.ethereum.api.web3 import Web3, client_version


def test_the_name_has_the_form_of_other_clients() -> None:
    assert Web3().client_version() == client_version()
    assert re.fullmatch(r"npipe/v[0-9][^/]*/[a-z]+-[^/]+/python3\.\d+", client_version())


def test_keccak_of_nothing_and_of_something() -> None:
    pytest.importorskip("eth_hash")
    empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert Web3().sha3("0x") == empty
    assert Web3().sha3("0x68656c6c6f").startswith("0x1c8aff950685c2ed4bc3174f3472287b")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eth_hash.auto", None)
    with pytest.raises(InternalError, match=r'pip install "npipe\[ethereum\]"'):
        Web3().sha3("0x")
