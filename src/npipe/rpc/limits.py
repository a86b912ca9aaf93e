"""The limits on everything that the other end controls, with the reason of each default.

Pure data. Framing keeps the first two, the session the next six, the shells the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes, counts and seconds. A time of None is no limit."""

    message_bytes: int = 32 * MIB
    """One message, in. Ethereum's largest honest ones (traces, contracts) are about 20 MiB."""
    depth: int = 512
    """Nesting of one message."""
    batch_items: int = 1000
    """Calls in one batch, as geth's default over HTTP. More: one -32600."""
    calls: int = 256
    """Calls in flight on one connection. Further ones wait, up to ``message_bytes`` of them; then
    nothing is read. (A proxy answers them with -32005: whether they may wait is upstream's.)"""
    reply_bytes: int = 32 * MIB
    """One reply, or a batch's replies together. More: -32003 in place of the result."""
    subscriptions: int = 256
    """Subscriptions on one connection."""
    subscription_bytes: int = MIB
    """Items of one subscription waiting for a slow reader, about 2,000 of Ethereum's headers. When
    they are more, its generator waits."""
    subscription_timeout: float | None = 20.0
    """Seconds that it waits, if the other end reads none of them. Longer: this subscription ends
    with an error. Less than ``write_timeout``, which ends the connection."""
    connections: int = 1024
    """Connections of one server. A further client is closed at once."""
    queue_bytes: int = MIB // 4
    """Bytes waiting to leave, from which on nothing is added to them that need not be: no call is
    begun, and who calls the other end waits. Calls that run already still add their replies, so
    at most ``calls`` times ``reply_bytes`` more: lower these where strangers can ask for much."""
    write_timeout: float | None = 30.0
    """Seconds in which the other end must take something of what is being written. Longer: the
    connection is dropped, for a message half written can be followed by nothing. One that reads is
    never dropped. (Bytes leave in portions: on Linux, of up to 32 KiB; with asyncio on Windows,
    all that is given to the loop at once is one, so a reply of 20 MiB needs 0.7 MiB a second.)"""
    message_timeout: float | None = 30.0
    """Seconds from the first to the last byte of a message."""
    idle_timeout: float | None = None
    """Seconds without a message and without a call in flight. Off: a wallet may wait for hours."""
