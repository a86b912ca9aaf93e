"""How each message of a session is encrypted, or signed: MS-SMB2, sections 3.1.4.1 and 3.1.4.3.

A session does one of the two, always. A reply that is not protected as the session is, is an
attack, and ``open`` raises; that is why this is here and not left to a library (smbprotocol 1.17
takes unsigned and plaintext replies for good: MS-SMB2, 3.2.5.1.1 and 3.2.5.1.3, forbid it).
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
    """Protects what is sent and checks what has come, of one session."""

    flags: int
    """The flags that a request's header has because of it."""

    def close(self, head: bytes, data: bytes | memoryview = b"") -> memoryview:
        """Return a request of ``head`` and then ``data`` as it is sent, behind its length."""

    def open(self, frame: memoryview) -> memoryview | bytes:
        """Return the response in a frame. Raises ValueError where it is not the server's."""

    def check(self, message: memoryview) -> None:
        """Raise ValueError if one response, of those in a frame, is not the server's."""


class Encryption:
    """AES in GCM or CCM mode, of SMB 3."""

    flags = 0

    def __init__(self, cipher: int, sending: bytes, receiving: bytes, session_id: int) -> None:
        """Take the cipher's id (2.2.3.1.2), the two keys, and the session's id."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

        mode = AESGCM if cipher in GCM else AESCCM
        nonce_size = 12 if cipher in GCM else 11
        self._encrypt = mode(sending).encrypt_into
        self._decrypt = mode(receiving).decrypt
        self._invalid = InvalidTag
        self._nonce_size = nonce_size
        # A nonce must never come twice under one key: a counter cannot. The start is random
        # because the handshake, under the same key, has used a few random ones.
        self._prefix = os.urandom(nonce_size - 8)
        self._sent = 0
        self._session_id = session_id

    def close(self, head: bytes, data: bytes | memoryview = b"") -> memoryview:
        self._sent += 1
        nonce = self._prefix + self._sent.to_bytes(8, "little")
        size = len(head) + len(data)
        transform = _TRANSFORM.pack(b"\xfdSMB", b"", nonce, size, 0, 1, self._session_id)
        length = (len(transform) + size).to_bytes(_LENGTH, "big")
        # Encrypted where it lies: each further copy of a MiB costs as much as the encryption.
        whole = memoryview(bytearray().join((length, transform, head, data, bytes(_TAG))))
        message = whole[_LENGTH + len(transform) :]
        self._encrypt(nonce, message[:-_TAG], transform[20:], message)
        whole[8:24] = whole[-_TAG:]  # the tag stands before the message
        return whole[:-_TAG]

    def open(self, frame: memoryview) -> bytes:
        if len(frame) < _TRANSFORM.size or bytes(frame[:4]) != b"\xfdSMB":
            raise ValueError("a plaintext reply on an encrypted session")
        _, tag, nonce, size, _, flags, session_id = _TRANSFORM.unpack_from(frame)
        if flags != 1 or session_id != self._session_id or size != len(frame) - _TRANSFORM.size:
            raise ValueError("an encrypted reply that is not of this session")
        sealed = b"".join((frame[_TRANSFORM.size :], tag))
        try:
            return self._decrypt(nonce[: self._nonce_size], sealed, frame[20 : _TRANSFORM.size])
        except self._invalid:
            raise ValueError("an encrypted reply that was changed on its way") from None

    def check(self, message: memoryview) -> None:
        """The frame as a whole was checked."""


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
            # The interim response of 3.2.5.1.3, which says nothing but "later".
            if header.status == PENDING and header.flags & _ASYNC:
                return
            raise ValueError("an unsigned reply on a signed session")
        blank = b"".join((message[:48], bytes(16), message[HEADER_SIZE:]))
        if not hmac.compare_digest(self._sign(blank, True), bytes(message[48:HEADER_SIZE])):
            raise ValueError("a signed reply that was changed on its way")


def _signer(algorithm: int, key: bytes) -> Callable[[memoryview | bytes, bool], bytes]:
    """Return what signs a message whose signature is blank, a response's or a request's."""
    if algorithm == GMAC:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        encrypt = AESGCM(key).encrypt

        def gmac(message: memoryview | bytes, response: bool) -> bytes:
            # The message id, and whose it is.
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
