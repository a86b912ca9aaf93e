"""Values of the options of ``npipe serve``: names, access, amounts of ether, addresses."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from typing import Final

__all__ = ["ETHER", "access_of", "ether", "is_remote", "names"]

ETHER: Final = 10**18


def names(text: str) -> tuple[str, ...]:
    """Split names at commas."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def is_remote(address: str) -> bool:
    """Return True for an address at a broker."""
    return address.startswith(("nats://", "tls://"))


def access_of(text: str) -> str | int:
    """Return an octal mode as a number, and another value unchanged, for the transport to check."""
    if not text.isdecimal():
        return text
    if not re.fullmatch("0?[0-7]{3}", text):
        raise ValueError(f"{text}: a mode has three octal digits, such as 660")
    return int(text, 8)


def ether(text: str) -> int:
    """Return an amount of ether in wei, exactly."""
    try:
        with localcontext() as context:
            context.prec = 100  # digits: enough for 2**256 wei
            wei = Decimal(text) * ETHER
            amount = int(wei)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"not an amount of ether: {text}") from error
    if amount != wei:
        raise ValueError(f"{text} ETH has more than 18 decimal places (1 ETH is 10**18 wei)")
    return amount
