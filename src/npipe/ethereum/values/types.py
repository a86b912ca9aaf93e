"""Ethereum's numbers and bytes in JSON, and the request objects of clients.

Quantities are the shortest hexadecimal ("0x0", "0x1f"), data has two digits per byte ("0x",
"0x00ff"). The types of parameters are checked by the RPC layer before a method runs. A plain JSON
integer is accepted as a quantity too, for use at a command line. null means the same as in geth,
where most values have a zero: an empty request, an empty string, no block.

Imports no py-evm: modules that work without the chain use this file as well.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from npipe.errors import InvalidParams

__all__ = [
    "AccessListEntry",
    "Address",
    "Authorization",
    "BlockHash",
    "BlockId",
    "BlockNumber",
    "BlockText",
    "Count",
    "Data",
    "FilterId",
    "Hash",
    "Index",
    "Quantity",
    "Slot",
    "Target",
    "TransactionRequest",
    "Uint64",
    "data",
    "quantity",
    "slot_name",
    "to_bytes",
    "to_int",
    "to_slot",
    "word",
]

_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_MOST = 2**63 - 1  # the largest plain integer; a larger one must be in hex
_END = r"$(?!\n)"  # "$" alone lets a line feed follow; "\Z" means nothing in JSON schemas

# No more digits than a 256-bit number has: a longer one is an error, not a big computation.
Quantity = (
    Annotated[
        str, Meta(pattern=r"^0[xX][0-9a-fA-F]{1,64}" + _END, description="0x-prefixed hex number")
    ]
    | Annotated[int, Meta(ge=0)]
)
Uint64 = (
    Annotated[
        str, Meta(pattern=r"^0[xX][0-9a-fA-F]{1,16}" + _END, description="0x-prefixed hex number")
    ]
    | Annotated[int, Meta(ge=0, le=_MOST)]
)
Index = (
    Annotated[str, Meta(pattern=r"^0[xX][0-9a-fA-F]{1,16}" + _END, description="index, in hex")]
    | Annotated[int, Meta(ge=0, le=_MOST)]
)
Data = Annotated[
    str, Meta(pattern=r"^0[xX]([0-9a-fA-F]{2})*" + _END, description="0x-prefixed hex bytes")
]
Address = Annotated[
    str, Meta(pattern=r"^0[xX][0-9a-fA-F]{40}" + _END, description="20 bytes in hex")
]
Hash = Annotated[str, Meta(pattern=r"^0[xX][0-9a-fA-F]{64}" + _END, description="32 bytes in hex")]
# An account, or "" and "0x" for none, to create a contract.
Target = Annotated[
    str, Meta(pattern=r"^(0[xX]([0-9a-fA-F]{40})?)?" + _END, description="20 bytes in hex")
]
# A storage slot, for ``to_slot``, which is as tolerant as geth.
Slot = Annotated[str, Meta(description="storage slot, up to 32 bytes in hex")] | None
FilterId = Annotated[str, Meta(description="the result of the method that made the filter")] | None
# A number that may also be decimal, and is 0 if empty: one method of geth accepts it.
Count = (
    Annotated[
        str,
        Meta(
            pattern=r"^(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19})?" + _END, description="hex or decimal"
        ),
    ]
    | Annotated[int, Meta(ge=0, le=_MOST)]
)

TAGS = ("latest", "pending", "earliest", "safe", "finalized")
_NUMBER = "0[xX]([0-9a-fA-F]{1,15}|[0-7][0-9a-fA-F]{15}"  # below 2**63, as in Go's int64
BlockText = Annotated[
    str,
    Meta(
        pattern=f"^({'|'.join(TAGS)}|{_NUMBER}|[0-9a-fA-F]{{64}}))" + _END,
        description="block: number in hex, tag, or hash",
    ),
]


class BlockHash(msgspec.Struct, rename="camel"):
    """A block by hash or by number, as an object (EIP-1898)."""

    block_hash: Hash | None = None
    block_number: BlockText | int | None = None
    require_canonical: bool = False

    def __post_init__(self) -> None:
        if self.block_hash is not None and self.block_number is not None:
            raise ValueError(
                "cannot specify both BlockHash and BlockNumber, choose one or the other"
            )


BlockNumber = BlockText | Annotated[int, Meta(ge=0, le=2**63 - 1)]
BlockId = BlockNumber | BlockHash | None  # None: null, which is no block


class AccessListEntry(msgspec.Struct, rename="camel"):
    """An account of an access list, with its slots (EIP-2930)."""

    address: Address
    storage_keys: list[Hash] = []


class Authorization(msgspec.Struct, rename="camel"):
    """A signed authorization to run another contract's code at the signer's address (EIP-7702)."""

    chain_id: Quantity
    address: Address
    nonce: Quantity
    r: Quantity
    s: Quantity
    y_parity: Quantity | None = None
    v: Quantity | None = None


class TransactionRequest(msgspec.Struct, rename="camel"):
    """The transaction object of eth_call, eth_estimateGas, eth_sendTransaction and others.

    Unknown fields are ignored, as in geth. If ``to`` is null, absent or empty, a contract is
    created.
    """

    from_: Address | None = msgspec.field(name="from", default=None)
    to: Target | None = None
    gas: Uint64 | None = None
    gas_price: Quantity | None = None
    max_fee_per_gas: Quantity | None = None
    max_priority_fee_per_gas: Quantity | None = None
    value: Quantity | None = None
    nonce: Uint64 | None = None
    data: Data | None = None
    input: Data | None = None
    chain_id: Quantity | None = None
    type: Quantity | None = None
    access_list: list[AccessListEntry] | None = None
    authorization_list: list[Authorization] | None = None
    max_fee_per_blob_gas: Quantity | None = None
    blob_versioned_hashes: list[Hash] | None = None
    blobs: list[Data] | None = None

    @property
    def payload(self) -> bytes:
        """Return the call data: ``input`` or, if that is absent, its older name ``data``."""
        return to_bytes(self.input if self.input is not None else self.data or "0x")

    @property
    def target(self) -> bytes:
        """Return the 20 bytes of the receiver, or b"" to create a contract."""
        return to_bytes(self.to) if self.to else b""


def quantity(number: int) -> str:
    """Encode a number: 31 as ``"0x1f"``."""
    return hex(number)


def data(octets: bytes) -> str:
    r"""Encode bytes: ``b"\x00\xff"`` as ``"0x00ff"``."""
    return "0x" + octets.hex()


def word(number: int) -> str:
    """Encode a number as the 32 bytes of an EVM word."""
    return f"0x{number:064x}"


def to_int(text: Any) -> int:
    """Decode a quantity. Raises InvalidParams if it is none; a boolean is none."""
    if isinstance(text, int) and not isinstance(text, bool) and 0 <= text < 2**256:
        return text
    if isinstance(text, str) and text[:2] in ("0x", "0X") and text.isascii() and text.isalnum():
        try:
            return int(text[2:], 16)
        except ValueError:
            pass
    raise InvalidParams(f"{text!r} is not a quantity: write it in hex, like 0x1f")


def to_slot(text: str | None) -> int:
    """Decode a storage slot; the prefix is optional. Raises InvalidParams with geth's message."""
    text = text or ""
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    if len(digits) > 64:
        raise InvalidParams(f"storage key too long (want at most 32 bytes): {_quoted(text)}")
    if not set(digits) <= _HEX_DIGITS:
        raise InvalidParams(f"invalid hex in storage key: {_quoted(text)}")
    return int(digits or "0", 16)


def slot_name(text: str | None) -> str:
    """Encode a slot as eth_getProof does: 32 bytes unchanged, shorter ones as a quantity."""
    digits = (text or "")[2:] if (text or "")[:2] in ("0x", "0X") else text or ""
    return f"0x{digits.lower()}" if len(digits) == 64 else quantity(to_slot(text))


def _quoted(text: str) -> str:
    return msgspec.json.encode(text[:200]).decode()


def to_bytes(text: str) -> bytes:
    """Decode hex data. Raises InvalidParams if it is invalid."""
    if text[:2] in ("0x", "0X"):
        try:
            octets = bytes.fromhex(text[2:])
        except ValueError:
            octets = b""
        if 2 + 2 * len(octets) == len(text):  # fromhex ignores spaces
            return octets
    raise InvalidParams(f"{text[:80]!r} is not hex data: write it like 0x00ff")
