"""Encoding of a call's params, and decoding of its outcome. Sans-I/O."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Raw

from npipe.errors import ConnectionLost, ProtocolError, RPCError
from npipe.rpc.session.pending_calls import Outcome
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.envelopes import BAD_DATA

__all__ = ["decode_result", "decode_results", "encode_params", "progress_reader"]


def encode_params(
    encoding: Encoding, params: Sequence[Any], named: Mapping[str, Any] | Raw | None
) -> bytes:
    """Encode the params of a call. A ``Raw`` among them is already encoded.

    Args:
        encoding: The encoding of the connection.
        params: The parameters by position.
        named: The parameters by name, or a ``Raw`` of all of them; None: use ``params``.

    Returns:
        An array or an object; empty if there are no parameters.

    Raises:
        TypeError: Both kinds were given, or a value has no form in the encoding.
        ValueError: A value is NaN or infinite, which JSON does not have.
    """
    if named is not None:
        if params:
            raise TypeError("pass parameters by position or by name, not both")
        return bytes(named) if type(named) is Raw else encoding.encode(named)
    return encoding.encode(params) if params else b""


def decode_result(encoding: Encoding, outcome: Outcome, kind: Any) -> Any:
    """Decode an outcome as ``kind``, or raise it if it is an exception.

    Args:
        encoding: The encoding of the connection.
        outcome: The encoded result or the exception.
        kind: The type to decode to; ``Raw`` leaves the result encoded.

    Returns:
        The result.

    Raises:
        RPCError: The server answered with an error.
        ConnectionLost: The connection ended before the reply.
        ProtocolError: The reply is not JSON-RPC, or the result is not of this type.
    """
    if isinstance(outcome, Exception):
        raise outcome
    if kind is Raw:
        return outcome
    try:
        return encoding.decode(outcome, kind)
    except BAD_DATA as error:
        raise ProtocolError(f"the result does not fit result_type: {error}") from None


def decode_results(encoding: Encoding, outcomes: list[Outcome], kind: Any) -> list[Any]:
    """Decode the outcomes of a batch as ``kind``; an exception takes the place of a failed one."""
    if kind is not Raw and set(map(type, outcomes)) == {Raw}:
        with contextlib.suppress(*BAD_DATA):  # the usual case: decode all of them at once
            text = encoding.array(outcomes)  # type: ignore[arg-type]
            return encoding.decode(text, list[kind])  # type: ignore[no-any-return]
    return [_result_or_error(encoding, outcome, kind) for outcome in outcomes]


def progress_reader(
    encoding: Encoding,
    on_progress: Callable[[Any], object] | None,
) -> Callable[[Raw], object] | None:
    """Return a function that decodes a ``$/progress`` value for ``on_progress``."""
    if on_progress is None:
        return None
    return lambda value: on_progress(encoding.decode(value) if value else None)


def _result_or_error(encoding: Encoding, outcome: Outcome, kind: Any) -> Any:
    try:
        return decode_result(encoding, outcome, kind)
    except (RPCError, ProtocolError, ConnectionLost) as error:
        return error
