"""``register``: which modules are served, and with which options."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.direct import Direct, Refused
from npipe.rpc.service.api import API


def test_importing_it_imports_no_evm() -> None:
    code = "import sys, npipe.ethereum; sys.exit('eth' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


def test_without_the_extra_the_small_modules_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ethereum, "available", lambda: False)
    api = API()
    with ethereum.register(api, chain_id=5) as service:
        assert set(service.modules) == {"net", "web3"}
        assert 'pip install "npipe[ethereum]"' in service.note
        call = Direct(api).call
        assert call("net_version") == "5"
        assert call("web3_clientVersion").startswith("npipe/v")
        assert set(call("rpc_modules")) == {"rpc", "net", "web3"}
        with pytest.raises(Refused) as caught:
            call("eth_chainId")
        assert caught.value.code == -32601


def test_without_the_extra_a_module_asked_for_by_name_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ethereum, "available", lambda: False)
    with pytest.raises(ImportError, match=r'eth, debug need the chain.*pip install "npipe'):
        ethereum.register(API(), modules=["net", "eth", "debug"])


def test_an_extra_that_does_not_load_is_told_apart_from_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ethereum, "available", lambda: True)
    monkeypatch.setitem(sys.modules, "npipe.ethereum.build", None)  # importing it fails
    with ethereum.register(API()) as service:
        assert "cannot be imported" in service.note
        assert set(service.modules) == {"net", "web3"}
    with pytest.raises(ImportError, match="eth need the chain: a package of the extra"):
        ethereum.register(API(), modules=["eth"])


def test_modules_are_chosen() -> None:
    pytest.importorskip("eth")
    api = API()
    with ethereum.register(api, modules=["eth", "web3"]):
        assert set(Direct(api).call("rpc_modules")) == {"rpc", "eth", "web3"}
    with pytest.raises(ValueError, match=r"no such module: ethh; choose from eth, net"):
        ethereum.register(API(), modules=["ethh"])


def test_an_unknown_method_is_not_found(call: Any) -> None:
    with pytest.raises(Refused) as caught:
        call("eth_noSuchThing")
    assert caught.value.code == -32601
