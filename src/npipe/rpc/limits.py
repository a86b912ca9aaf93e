"""The limits on what a peer controls, such as the size of a message, with reasons for defaults.

Data only. The framings in ``wire`` enforce the first two; search for a name to find the others.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Limits"]

MIB = 1 << 20
MAX_BYTES = 32 * MIB
"""Default size of a message."""
MAX_DEPTH = 512
"""Default nesting depth of a message: half of that at which msgspec raises RecursionError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one connection or server, in bytes, counts and seconds. A time of None is no limit.

    Args:
        message_bytes: Size of one received message, in bytes. The largest legitimate messages of
            Ethereum nodes (traces, contracts) have about 20 MiB.
        depth: Nesting depth of arrays and objects in one message.
        batch_items: Calls in one batch, as geth's default over HTTP. A larger batch is answered
            with one error -32600.
        calls: Calls in flight on one connection. Further calls wait, up to ``message_bytes`` of
            them; then nothing more is read. A proxy answers them with -32005 instead, because only
            the upstream server knows whether they may wait.
        reply_bytes: Size of one reply, or of all replies of a batch, in bytes. A larger one is
            replaced by the error -32003.
        subscriptions: Subscriptions on one connection.
        subscription_bytes: Bytes of items of one subscription that wait to be sent, about 2,000
            Ethereum block headers. Above it, the generator of the subscription is suspended.
        subscription_timeout: Seconds that the generator may be suspended while the peer reads
            nothing. After them, the subscription ends with an error. Keep it below
            ``write_timeout``, which ends the connection.
        connections: Connections of one server. A further client is disconnected at once.
        queue_bytes: High-water mark of the send queue, in bytes. Above it no new call is started,
            and callers of the peer wait. Calls that are already running still add their replies,
            at most ``calls`` times ``reply_bytes``: lower these two for untrusted clients.
        write_timeout: Seconds in which the peer must read a part of the bytes being written. After
            them, the connection is closed, because no message can follow half a message. A client
            that keeps reading is never disconnected. Bytes are written in portions: up to 32 KiB on
            Linux; with asyncio on Windows, all bytes that were passed to the loop in one write, so
            that a reply of 20 MiB needs 0.7 MiB/s.
        message_timeout: Seconds from the first to the last byte of a received message.
        idle_timeout: Seconds without a message and without a call in flight, after which the
            connection is closed. Off by default: a wallet may be idle for hours.
    """

    message_bytes: int = MAX_BYTES
    depth: int = MAX_DEPTH
    batch_items: int = 1000
    calls: int = 256
    reply_bytes: int = MAX_BYTES
    subscriptions: int = 256
    subscription_bytes: int = MIB
    subscription_timeout: float | None = 20.0
    connections: int = 1024
    queue_bytes: int = MIB // 4
    write_timeout: float | None = 30.0
    message_timeout: float | None = 30.0
    idle_timeout: float | None = None
