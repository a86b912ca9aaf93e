"""Addresses of new contracts, and code that delegates to another account (EIP-7702)."""

from __future__ import annotations

from eth._utils.address import generate_contract_address, generate_safe_contract_address
from eth_utils import to_checksum_address

__all__ = ["DELEGATION", "checksum", "created", "created2", "delegate_of"]

DELEGATION = b"\xef\x01\x00"  # begins the code of an account that delegates


def created(sender: bytes, nonce: int) -> bytes:
    """Return the address of a contract that an account creates at a nonce."""
    return bytes(generate_contract_address(sender, nonce))


def created2(sender: bytes, salt: int, code: bytes) -> bytes:
    """Return the address of a contract that CREATE2 makes (EIP-1014)."""
    return bytes(generate_safe_contract_address(sender, salt, code))


def delegate_of(code: bytes) -> bytes | None:
    """Return the address to which an account's code delegates; None if it does not delegate."""
    return code[3:] if code.startswith(DELEGATION) and len(code) == 23 else None


def checksum(address: bytes) -> str:
    """Return an address with the mixed case that is a checksum (EIP-55)."""
    return str(to_checksum_address(address))
