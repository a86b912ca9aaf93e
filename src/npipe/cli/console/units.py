"""The conversions of geth's console that need no server: ``web3.fromWei`` and the like. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation, localcontext
from types import MappingProxyType
from typing import Any, Final

__all__ = ["FUNCTIONS"]

# Powers of ten, by the names of web3.js. https://web3js.readthedocs.io: web3.utils.unitMap
_UNITS: Final = MappingProxyType(
    {
        "wei": 0,
        "kwei": 3,
        "babbage": 3,
        "mwei": 6,
        "lovelace": 6,
        "gwei": 9,
        "shannon": 9,
        "szabo": 12,
        "microether": 12,
        "finney": 15,
        "milliether": 15,
        "ether": 18,
        "kether": 21,
        "mether": 24,
        "gether": 27,
        "tether": 30,
    }
)
_DIGITS: Final = 120  # enough for 2**256 with 30 decimal places


def _number(value: Any) -> Decimal:
    if isinstance(value, str) and value[:2] in ("0x", "0X"):
        return Decimal(int(value, 16))
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"not a number: {value!r}")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"not a number: {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"not a number: {value!r}")
    return number


def _scale(unit: Any) -> Decimal:
    if unit not in _UNITS:
        raise ValueError(f"no such unit: {unit}; choose from {', '.join(_UNITS)}")
    return Decimal(10) ** _UNITS[unit]


def _from_wei(amount: Any, unit: Any = "ether") -> str:
    with localcontext(prec=_DIGITS):
        return f"{(_number(amount) / _scale(unit)).normalize():f}"


def _to_wei(amount: Any, unit: Any = "ether") -> str:
    with localcontext(prec=_DIGITS):
        wei = _number(amount) * _scale(unit)
        if wei != wei.to_integral_value():
            raise ValueError(f"{amount} {unit} is not a whole number of wei")
        return f"{wei:.0f}"


def _to_decimal(value: Any) -> int | float:
    number = _number(value)
    return int(number) if number == number.to_integral_value() else float(number)


def _to_hex(value: Any) -> str:
    number = _number(value)
    if number != number.to_integral_value():
        raise ValueError(f"not a whole number: {value}")
    return hex(int(number))


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "web3_fromWei": _from_wei,
        "web3_toWei": _to_wei,
        "web3_toDecimal": _to_decimal,
        "web3_toHex": _to_hex,
    }
)
"""The functions by the name that the parser uses."""
