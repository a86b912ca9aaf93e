"""Encryption or signing of each message of a session: MS-SMB2, sections 3.1.4.1 and 3.1.4.3.

A session always does one of the two. A reply without that protection is an attack, and ``open``
raises. This is not left to a library, because smbprotocol 1.17 accepts unsigned and plaintext
replies, which MS-SMB2, 3.2.5.1.1 and 3.2.5.1.3, forbids.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable
from typing import Final, Protocol

from npipe.transport.smb.messages import HEADER_SIZE, SIGNED, parse_header
from npipe.transport.smb.status import PENDING

__all__ = ["CCM", "CMAC", "GCM", "GMAC", "HMAC", "Encryption", "Seal", "Signing"]

# The ids of MS-SMB2, 2.2.3.1.2 and 2.2.3.1.7, as groups.
CCM: Final = frozenset({1, 3})  # AES-128-CCM, AES-256-CCM
GCM: Final = frozenset({2, 4})
HMAC: Final = 0
CMAC: Final = 1
GMAC: Final = 2

_TRANSFORM: Final = struct.Struct("<4s16s16sIHHQ")  # magic, tag, nonce, size, 0, flags, session
_TAG: Final = 16
_LENGTH: Final = 4  # bytes before each message on the network
_ASYNC: Final = 0x2


class Seal(Protocol):
    """Protects sent messages and checks received ones, of one session."""

    flags: int
    """The flags that it adds to the header of a request."""

    def close(self, head: bytes, data: bytes | memoryview = b"") -> memoryview:
        """Return a request of ``head`` and ``data`` in the form to send, after its length."""

    def open(self, frame: memoryview) -> memoryview | bytes:
        """Return the response in a frame. Raises ValueError if it is not from the server."""

    def check(self, message: memoryview) -> None:
        """Raise ValueError if a response in a frame is not from the server."""


class Encryption:
    """AES in GCM or CCM mode (SMB 3)."""

    flags = 0

    def __init__(self, cipher: int, sending: bytes, receiving: bytes, session_id: int) -> None:
        """Set the id of the cipher (2.2.3.1.2), the two keys, and the id of the session."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

        mode = AESGCM if cipher in GCM else AESCCM
        nonce_size = 12 if cipher in GCM else 11
        self._encrypt = mode(sending).encrypt_into
        self._decrypt = mode(receiving).decrypt
        self._invalid = InvalidTag
        self._nonce_size = nonce_size
        # A nonce must not be used twice with one key, which a counter ensures. It starts at a
        # random number, because the handshake has used random nonces with the same key.
        self._prefix = os.urandom(nonce_size - 8)
        self._sent = 0
        self._session_id = session_id

    def close(self, head: bytes, data: bytes | memoryview = b"") -> memoryview:
        self._sent += 1
        nonce = self._prefix + self._sent.to_bytes(8, "little")
        size = len(head) + len(data)
        transform = _TRANSFORM.pack(b"\xfdSMB", b"", nonce, size, 0, 1, self._session_id)
        length = (len(transform) + size).to_bytes(_LENGTH, "big")
        # Encrypted in place: each further copy of a MiB costs as much as the encryption.
        whole = memoryview(bytearray().join((length, transform, head, data, bytes(_TAG))))
        message = whole[_LENGTH + len(transform) :]
        self._encrypt(nonce, message[:-_TAG], transform[20:], message)
        whole[8:24] = whole[-_TAG:]  # the tag is before the message
        return whole[:-_TAG]

    def open(self, frame: memoryview) -> bytes:
        if len(frame) < _TRANSFORM.size or bytes(frame[:4]) != b"\xfdSMB":
            raise ValueError("a plaintext reply on an encrypted session")
        _, tag, nonce, size, _, flags, session_id = _TRANSFORM.unpack_from(frame)
        if flags != 1 or session_id != self._session_id or size != len(frame) - _TRANSFORM.size:
            raise ValueError("an encrypted reply of another session")
        sealed = b"".join((frame[_TRANSFORM.size :], tag))
        try:
            return self._decrypt(nonce[: self._nonce_size], sealed, frame[20 : _TRANSFORM.size])
        except self._invalid:
            raise ValueError("an encrypted reply that was changed in transit") from None

    def check(self, message: memoryview) -> None:
        """Do nothing: the frame was checked as a whole."""


class Signing:
    """A signature in each header: HMAC-SHA256 (SMB 2), AES-CMAC or AES-GMAC (SMB 3)."""

    flags = SIGNED

    def __init__(self, algorithm: int, key: bytes) -> None:
        self._sign = _signer(algorithm, key)

    def close(self, head: bytes, data: bytes | memoryview = b"") -> memoryview:
        size = (len(head) + len(data)).to_bytes(_LENGTH, "big")
        frame = memoryview(bytearray().join((size, head, data)))
        message = frame[_LENGTH:]
        message[48:HEADER_SIZE] = self._sign(message, False)
        return frame

    def open(self, frame: memoryview) -> memoryview:
        return frame

    def check(self, message: memoryview) -> None:
        header = parse_header(message)
        if not header.flags & SIGNED:
            # The interim response of 3.2.5.1.3, which has no contents.
            if header.status == PENDING and header.flags & _ASYNC:
                return
            raise ValueError("an unsigned reply on a signed session")
        blank = b"".join((message[:48], bytes(16), message[HEADER_SIZE:]))
        if not hmac.compare_digest(self._sign(blank, True), bytes(message[48:HEADER_SIZE])):
            raise ValueError("a signed reply that was changed in transit")


def _signer(algorithm: int, key: bytes) -> Callable[[memoryview | bytes, bool], bytes]:
    """Return a function that signs a message whose signature is blank, a response or a request."""
    if algorithm == GMAC:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        encrypt = AESGCM(key).encrypt

        def gmac(message: memoryview | bytes, response: bool) -> bytes:
            # The message id, and its sender.
            nonce = bytes(message[24:32]) + bytes((response, 0, 0, 0))
            return encrypt(nonce, b"", message)

        return gmac
    if algorithm == CMAC:
        from cryptography.hazmat.primitives import cmac
        from cryptography.hazmat.primitives.ciphers.algorithms import AES

        def sign(message: memoryview | bytes, response: bool) -> bytes:
            state = cmac.CMAC(AES(key))
            state.update(message)  # type: ignore[arg-type]  # any buffer will do
            return state.finalize()

        return sign
    return lambda message, response: hmac.digest(key, message, hashlib.sha256)[:16]
