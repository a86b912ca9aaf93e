"""Values of the options of ``npipe serve``: names, access, amounts of ether, addresses."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from typing import Final

__all__ = ["ETHER", "access_of", "ether", "is_remote", "names"]

ETHER: Final = 10**18


def names(text: str) -> tuple[str, ...]:
    """Return names that have commas in between."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def is_remote(address: str) -> bool:
    """Return True for an address at a broker."""
    return address.startswith(("nats://", "tls://"))


def access_of(text: str) -> str | int:
    """Return an octal mode as a number and anything else as it is; the transport judges it."""
    if not text.isdecimal():
        return text
    if not re.fullmatch("0?[0-7]{3}", text):
        raise ValueError(f"{text}: a mode has three octal digits, such as 660")
    return int(text, 8)


def ether(text: str) -> int:
    """Return an amount of ether in wei, exactly."""
    try:
        with localcontext() as context:
            context.prec = 100  # digits: more than 2**256 wei has
            wei = Decimal(text) * ETHER
            amount = int(wei)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"no amount of ether: {text}") from error
    if amount != wei:
        raise ValueError(f"{text} ETH is no whole number of wei: 18 decimal places at most")
    return amount
