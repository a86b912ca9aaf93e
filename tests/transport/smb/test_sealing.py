"""Encryption and signatures: what is sent can be read by the other end, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.transport.smb.sealing import CCM, CMAC, GCM, GMAC, HMAC, Encryption, Seal, Signing
from transport.smb.test_messages import response

SESSION = 9
KEYS = {1: bytes(range(16)), 2: bytes(range(16)), 3: bytes(range(32)), 4: bytes(range(32))}


def sent(seal: Seal, head: bytes, data: bytes = b"") -> memoryview:
    """Return a request's frame, without its length."""
    frame = seal.close(head, data)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return frame[4:]


def ends(cipher: int) -> tuple[Encryption, Encryption]:
    there, back = KEYS[cipher], KEYS[cipher][::-1]
    return Encryption(cipher, there, back, SESSION), Encryption(cipher, back, there, SESSION)


@pytest.mark.parametrize("cipher", sorted(CCM | GCM))
def test_encrypted_there_and_back(cipher):
    client, server = ends(cipher)
    for data in (b"", b"x", bytes(65536), memoryview(bytes(1 << 20))[5:]):
        assert server.open(sent(client, b"head", data)) == b"head" + bytes(data)
        with pytest.raises(ValueError, match="changed"):
            client.open(sent(client, b"head", data))  # sent back: it is not the server's


@pytest.mark.parametrize("cipher", sorted(CCM | GCM))
@given(st.data())
def test_no_byte_can_be_changed(cipher, data):
    client, server = ends(cipher)
    frame = bytearray(sent(client, b"the text"))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        got = server.open(memoryview(frame))
    except ValueError:
        return
    assert (
        got == b"the text"
    )  # the reserved bytes and a nonce's unused ones: nothing depends on them


def test_no_nonce_comes_twice():
    client, _ = ends(2)
    nonces = {bytes(sent(client, b""))[20:32] for _ in range(1000)}
    assert len(nonces) == 1000


def test_junk_and_plaintext_are_refused():
    client, _ = ends(2)
    for frame in (b"", b"\xfdSMB", response(b""), b"\xfdSMB" + bytes(100)):
        with pytest.raises(ValueError, match="encrypted"):
            client.open(memoryview(frame))


@pytest.mark.parametrize("algorithm", [HMAC, CMAC, GMAC])
def test_signed(algorithm):
    seal = Signing(algorithm, bytes(range(16)))
    signed = sign(seal, response(b"body", flags=9))
    seal.check(memoryview(signed))
    for at in range(len(signed)):
        changed = bytearray(signed)
        changed[at] ^= 1
        with pytest.raises(ValueError, match=r"changed|unsigned|not a response"):
            seal.check(memoryview(changed))


def sign(seal: Signing, message: bytes) -> bytes:
    """Sign as the server does."""
    return message[:48] + seal._sign(message, True) + message[64:]


def test_only_an_interim_response_may_be_unsigned():
    seal = Signing(GMAC, bytes(16))
    pending = bytearray(response(b"", flags=3))
    pending[8:12] = (0x103).to_bytes(4, "little")
    seal.check(memoryview(pending))
    with pytest.raises(ValueError, match="unsigned"):
        seal.check(memoryview(response(b"", flags=3)))
    pending[16] = 1  # not asynchronous
    with pytest.raises(ValueError, match="unsigned"):
        seal.check(memoryview(pending))
