"""Read the type of a transaction of py-evm. Imports no py-evm, so encoding needs no extra."""

from __future__ import annotations

from typing import Any

__all__ = ["kind_of"]


def kind_of(unsigned: Any) -> int:
    """Return the EIP-2718 type of an unsigned transaction; 0 for a legacy transaction."""
    return getattr(unsigned, "_type_id", None) or 0
