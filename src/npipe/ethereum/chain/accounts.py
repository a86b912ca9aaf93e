"""The accounts of the development chain: keys derived from a mnemonic, and signing.

The default mnemonic is the one of hardhat, anvil and ganache. It and its keys are public: never
send real money to these addresses. ``npipe serve`` prints the keys, as anvil does. Nothing here
logs them, and the repr of an Account leaves out its key.

Needs eth-keys (the extra "ethereum"), which is imported when accounts are made.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npipe.ethereum.values.types import data

if TYPE_CHECKING:
    from eth_keys.datatypes import PrivateKey

__all__ = ["MNEMONIC", "Account", "derive", "message_hash"]

MNEMONIC = "test test test test test test test test test test test junk"

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1
_HARDENED = 1 << 31
_PATH = (44 + _HARDENED, 60 + _HARDENED, _HARDENED, 0)  # m/44'/60'/0'/0, then the account's number


@dataclass(frozen=True, slots=True)
class Account:
    """An address and its private key."""

    address: bytes
    key: PrivateKey = field(repr=False)

    @property
    def address_hex(self) -> str:
        """The address with the mixed case that is a checksum (EIP-55)."""
        return str(self.key.public_key.to_checksum_address())

    @property
    def key_hex(self) -> str:
        """The private key in hex, for the banner on the user's own terminal only."""
        return str(self.key.to_hex())

    def sign(self, message: bytes) -> str:
        """Sign a message as wallets do (EIP-191). Return r, s and v (27 or 28), 65 bytes in hex."""
        return self.sign_hash(message_hash(message))

    def sign_hash(self, digest: bytes) -> str:
        """Sign a hash of 32 bytes. Return r, s and v (27 or 28), 65 bytes in hex."""
        signature = self.key.sign_msg_hash(digest)
        return data(
            signature.r.to_bytes(32, "big")
            + signature.s.to_bytes(32, "big")
            + bytes([27 + signature.v])
        )


def derive(mnemonic: str, count: int) -> tuple[Account, ...]:
    """Return the first ``count`` accounts of a mnemonic (BIP-39, BIP-32, m/44'/60'/0'/0/n).

    Wallets derive the same accounts. Raises ValueError if the words are no mnemonic; the message
    contains none of them, because they may be secret.
    """
    from eth_keys import keys

    words = " ".join(unicodedata.normalize("NFKD", mnemonic).split())
    if not words:
        raise ValueError("the mnemonic is empty: give the words, separated by spaces")
    _check(words)
    seed = hashlib.pbkdf2_hmac("sha512", words.encode(), b"mnemonic", 2048)
    digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
    parent = digest[:32], digest[32:]
    for index in _PATH:
        parent = _child(*parent, index)
    accounts = []
    for number in range(count):
        key = keys.PrivateKey(_child(*parent, number)[0])
        accounts.append(Account(key.public_key.to_canonical_address(), key))
    return tuple(accounts)


def _check(words: str) -> None:
    """Raise ValueError for a mistyped mnemonic: part of its last word is a checksum (BIP-39)."""
    try:
        from mnemonic import Mnemonic
    except ModuleNotFoundError:  # without the package there is no check: any text makes accounts
        return
    language = Mnemonic("english")
    known, given = set(language.wordlist), words.split()
    if len(given) not in (12, 15, 18, 21, 24):
        raise ValueError(
            f"the mnemonic has {len(given)} words; a mnemonic has 12, 15, 18, 21 or 24"
        )
    for place, word in enumerate(given, 1):
        if word not in known:
            raise ValueError(f"the mnemonic's word {place} is not in the English list (BIP-39)")
    if not language.check(words):
        raise ValueError(
            "the mnemonic's checksum is wrong: a word is mistyped, or the order is wrong"
        )


def message_hash(message: bytes) -> bytes:
    """Return the hash to sign for a message (EIP-191). A signed message is never a transaction."""
    from eth_hash.auto import keccak

    return keccak(b"\x19Ethereum Signed Message:\n%d%s" % (len(message), message))


def _child(key: bytes, chain_code: bytes, index: int) -> tuple[bytes, bytes]:
    """Derive a private child key (BIP-32). An invalid key (probability 2**-127) is not handled."""
    from eth_keys import keys

    if index >= _HARDENED:
        body = b"\0" + key
    else:
        body = keys.PrivateKey(key).public_key.to_compressed_bytes()
    digest = hmac.digest(chain_code, body + index.to_bytes(4, "big"), "sha512")
    number = (int.from_bytes(digest[:32], "big") + int.from_bytes(key, "big")) % _ORDER
    return number.to_bytes(32, "big"), digest[32:]
