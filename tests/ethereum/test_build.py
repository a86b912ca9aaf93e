"""Which modules are served, to whom, and what is served without the extra."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.direct import Direct, Refused
from npipe.rpc.service.api import API
from npipe.security import PeerIdentity


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
        assert "is installed but does not load" in service.note
        assert set(service.modules) == {"net", "web3"}
    with pytest.raises(ImportError, match="eth need the chain, and what it needs is installed"):
        ethereum.register(API(), modules=["eth"])


def test_modules_are_chosen() -> None:
    pytest.importorskip("eth")
    api = API()
    with ethereum.register(api, modules=["eth", "web3"]):
        assert set(Direct(api).call("rpc_modules")) == {"rpc", "eth", "web3"}
    with pytest.raises(ValueError, match=r"no such module: ethh \(there are eth, net"):
        ethereum.register(API(), modules=["ethh"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accounts": -1}, "accounts: between"),
        ({"balance": 2**256}, "out of range"),
        ({"chain_id": 0}, "chain id 0"),
        ({"chain_id": 2**60}, "chain id"),
        ({"block_time": 0}, "a block time of 0 seconds"),
        ({"block_time": float("nan")}, "a block time of nan seconds"),
        ({"block_time": 1e10}, "a block time of 10000000000.0 seconds"),
        ({"mnemonic": " "}, "the mnemonic is empty"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    pytest.importorskip("eth")
    with pytest.raises(ValueError, match=message):
        ethereum.register(API(), **options)


@pytest.mark.skipif(sys.platform == "win32", reason="uids are of POSIX")
def test_admin_and_personal_exist_for_the_owner_only(api: API, service: ethereum.Service) -> None:
    everybody = API.table(api, PeerIdentity(uid=os.geteuid() + 1))
    owner = API.table(api, PeerIdentity(uid=os.geteuid()))
    private = {name for name in owner if name.startswith(("admin_", "personal_"))}
    assert len(private) > 5
    assert not private & set(everybody)
    assert not private & set(API.table(api, None))
    assert set(api.modules(PeerIdentity(uid=os.geteuid() + 1))) & {"admin", "personal"} == set()


def test_admin_tells_of_the_node(call: Any) -> None:
    info = call("admin_nodeInfo")
    assert info["protocols"]["eth"]["network"] == 1337
    assert call("admin_peers") == []
    assert call("admin_datadir") == ""


def test_personal_signs_and_recovers(call: Any, alice: str) -> None:
    signature = call("personal_sign", "0x68656c6c6f", alice, "password")
    assert signature == call("eth_sign", alice, "0x68656c6c6f")
    assert call("personal_ecRecover", "0x68656c6c6f", signature) == alice
    assert call("personal_unlockAccount", alice, "secret", 300) is True
    assert alice in call("personal_listAccounts")
    for bad in ("0x", "0x" + "00" * 65, "0x" + "ff" * 64 + "1b"):
        with pytest.raises(Refused):
            call("personal_ecRecover", "0x68656c6c6f", bad)
    with pytest.raises(Refused, match="unknown account"):
        call("personal_sign", "0x00", "0x" + "11" * 20, "")


def test_tips_go_to_the_etherbase(call: Any, alice: str, bob: str) -> None:
    base = "0x" + "be" * 20
    assert call("miner_setEtherbase", base) is True
    call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x1"})
    assert int(call("eth_getBalance", base), 16) == 21_000 * 10**9
    assert call("eth_coinbase") == base


def test_no_secret_is_logged(call: Any, service: Any, alice: str, bob: str, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    call("personal_unlockAccount", alice, "hunter2")
    call("eth_sendTransaction", {"from": alice, "to": bob})
    call("personal_sign", "0x00", alice, "hunter2")
    with pytest.raises(Refused):
        call("personal_sign", "0x00", bob + "00", "hunter2")
    text = caplog.text
    assert "hunter2" not in text
    assert not any(account.key_hex[2:] in text for account in service.accounts)
    assert not any(account.key_hex[2:] in repr(service) for account in service.accounts)


def test_after_the_end_calls_are_refused_and_closing_again_is_nothing(api: API) -> None:
    pytest.importorskip("eth")
    service = ethereum.register(api)
    service.close()
    service.close()
    with pytest.raises(Refused, match="the chain has been stopped"):
        Direct(api).call("eth_gasPrice")
