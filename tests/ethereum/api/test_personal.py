"""The namespace personal: signing with the accounts of the node."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ethereum.direct import Refused


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
