"""Addresses of new contracts, by the examples of the EIPs; delegations."""

from __future__ import annotations

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from npipe.ethereum.evm.addresses import checksum, created, created2, delegate_of


def test_the_address_of_a_new_contract_follows_from_sender_and_nonce() -> None:
    sender = bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0")
    assert created(sender, 0).hex() == "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    assert created(sender, 1).hex() == "343c43a37d37dff08ae8c4a11544c718abb4fcf8"


def test_create2_by_the_examples_of_eip_1014() -> None:
    nobody, someone = bytes(20), bytes.fromhex("00000000000000000000000000000000deadbeef")
    assert checksum(created2(nobody, 0, b"\0")) == "0x4D1A2e2bB4F88F0250f26Ffff098B0b30B26BF38"
    found = created2(someone, 0xCAFEBABE, bytes.fromhex("deadbeef"))
    assert checksum(found) == "0x60f3f640a8508fC6a86d45DF051962668E1e8AC7"


def test_code_that_names_another_account_has_23_bytes() -> None:
    target = b"\7" * 20
    assert delegate_of(b"\xef\x01\x00" + target) == target
    for code in (b"", b"\xef\x01\x00", b"\xef\x01\x00" + target + b"\0", b"\xef\x02\x00" + target):
        assert delegate_of(code) is None
