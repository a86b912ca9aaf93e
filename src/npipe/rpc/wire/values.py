"""Encoding of values, without the envelopes of JSON-RPC. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Raw

from npipe.errors import ProtocolError
from npipe.rpc.wire import json_text
from npipe.rpc.wire.envelopes import BAD_DATA

__all__ = ["ValueEncoding"]


class ValueEncoding:
    """Encoding of values: a subclass defines ``encode`` and ``decode``."""

    # To be defined by a subclass

    def encode(self, value: Any) -> bytes:
        """Encode one value.

        Args:
            value: The value.

        Returns:
            Its bytes.

        Raises:
            TypeError, ValueError, OverflowError: The value has no form in this encoding.
        """
        raise NotImplementedError

    def decode(self, data: bytes, type: Any = Any) -> Any:
        """Decode one value.

        ``msgspec.convert`` converts the output of another library to a type, and
        ``msgspec.to_builtins`` converts in the other direction.

        Args:
            data: The bytes of exactly one value.
            type: The type to decode to: any that msgspec supports.

        Returns:
            The value, of type ``type``.

        Raises:
            ValueError, msgspec.DecodeError: ``data`` is not valid in this encoding, or not of
                this type.
        """
        raise NotImplementedError

    # Values, derived from encode and decode

    @property
    def null(self) -> bytes:
        """The encoded value None."""
        return self.encode(None)

    def text(self, data: bytes) -> str:
        """Return an encoded value as JSON, for a log.

        Args:
            data: The encoded value; may be empty.
        """
        try:
            return json_text.encode(self.decode(data)).decode() if data else ""
        except Exception:  # a user's encoding may raise any exception
            return repr(bytes(data))

    def decoder(self, type: Any) -> Callable[[bytes], Any]:
        """Make a decoder for one type.

        Args:
            type: The type to decode to.

        Returns:
            A function from bytes to a value; raises as ``decode``.
        """
        return lambda data: self.decode(data, type)

    def array(self, items: Sequence[bytes]) -> bytes:
        """Join encoded values to an array.

        Args:
            items: The encoded values.

        Returns:
            The encoded array.
        """
        return self.encode([self.decode(item) for item in items])

    def object(self, members: Mapping[str, bytes]) -> bytes:
        """Join encoded values to an object.

        Args:
            members: The encoded values, by member name.

        Returns:
            The encoded object.
        """
        return self.encode({name: self.decode(value) for name, value in members.items()})

    def items(self, data: bytes) -> list[Raw]:
        """Split an encoded array. Raises as ``decode``.

        Args:
            data: The encoded array.

        Returns:
            The encoded items.
        """
        return [Raw(self.encode(item)) for item in self.decode(data, list[Any])]

    def members(self, data: bytes) -> dict[str, Raw]:
        """Split an encoded object. Raises as ``decode``.

        Args:
            data: The encoded object.

        Returns:
            The encoded values, by member name.
        """
        values = self.decode(data, dict[str, Any])
        return {name: Raw(self.encode(value)) for name, value in values.items()}

    def kind(self, data: bytes) -> str:
        """Return the kind of an encoded value. Raises as ``decode``.

        Args:
            data: The encoded value; may be empty.

        Returns:
            "array", "object", "null" or "other"; "null" if ``data`` is empty.
        """
        if not data:
            return "null"
        value = self.decode(data)
        if isinstance(value, list | tuple):
            return "array"
        return "object" if isinstance(value, Mapping) else "null" if value is None else "other"

    def check_depth(self, data: bytes, most: int) -> None:
        """Check the nesting depth of a message.

        Args:
            data: The encoded message. Invalid data passes; ``parse`` reports it.
            most: The largest depth.

        Raises:
            ProtocolError: The message nests deeper than ``most``.
        """
        try:
            level = [self.decode(data)]
        except RecursionError:
            raise ProtocolError(f"a message nests deeper than {most}") from None
        except BAD_DATA:
            return  # ``parse`` reports it
        for _ in range(most + 1):
            level = [item for value in level for item in _inside(value)]
            if not level:
                return
        raise ProtocolError(f"a message nests deeper than {most}")


def _inside(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list | tuple) else ()
