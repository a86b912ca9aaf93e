"""Keys from words, against values that every wallet agrees on."""

from __future__ import annotations

import pytest

from npipe.ethereum.chain.accounts import MNEMONIC, derive

pytest.importorskip("eth_keys", reason='accounts need the extra "ethereum"')


def test_the_well_known_words_make_the_well_known_accounts() -> None:
    first, second = derive(MNEMONIC, 2)
    assert first.address_hex == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert second.address_hex == "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def test_the_key_is_in_no_repr() -> None:
    (account,) = derive(MNEMONIC, 1)
    assert account.key_hex[2:] not in repr(account)
    assert account.key_hex[2:] not in str([account])


def test_spaces_between_words_do_not_matter() -> None:
    assert derive(f"  {MNEMONIC.replace(' ', '   ')}\n", 1) == derive(MNEMONIC, 1)


def test_no_words_are_refused() -> None:
    with pytest.raises(ValueError, match="the mnemonic is empty"):
        derive("  ", 1)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (MNEMONIC.replace("junk", "test"), "checksum is wrong"),
        (MNEMONIC.replace("junk", "jumk"), "word 12 is not in the English list"),
        ("test junk", "has 2 words"),
    ],
)
def test_mistyped_words_are_refused_and_not_repeated(words: str, why: str) -> None:
    pytest.importorskip("mnemonic")
    with pytest.raises(ValueError, match=why) as caught:
        derive(words, 1)
    assert "jumk" not in str(caught.value)


def test_a_signed_message_recovers_to_its_signer_in_another_library() -> None:
    account_module = pytest.importorskip("eth_account")
    from eth_account.messages import encode_defunct

    (account,) = derive(MNEMONIC, 1)
    signature = account.sign(b"hello")
    recover = account_module.Account.recover_message
    assert recover(encode_defunct(b"hello"), signature=signature) == account.address_hex
