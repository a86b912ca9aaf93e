"""What smbd says of a client: a real message, and what becomes of every broken one."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import npipe
from npipe.transport.smb import npa
from peers.smbd import USER

#: The message of Samba 4.22.6 (Debian's backport) about the same client, of level 8.
SAMBA_4_22 = zlib.decompress(
    base64.b85decode(
        "c-muNV3zj_aP;M1U|;}YMg|aIVqgJcld~W(CI%iL=HA4>AONJ986W^em*p}ra6$PX+R(^c&j1Jwq4LD269JkD0un%428"
        "b1aSOqF30L1)jat_}Ssqt?7vEpP(p~HHR_{Zy(&srZ|b=eU-x#cs@=U9*!CloWXg0-@W0*QwUHz?fAXPUo3tp4B&X54a"
        "&K<gMGR*Eq}-N^_E2u36}D-#l%n*pJR5vGR)!Z&vG4Hjf(0Q-UoNu5gT%1Q<@03$qJu*)F>4F)DSTL;QE0L3K`TL7^Q5"
        "IX>|3zEA35Ks@J8RqH6%GKXxgwb$uXq+ejEoF!51<}cwrNya5sB!EU;2Gc=;u;)+<VIYyG!h*X1J@Y?F*l~5C_gPTCzX"
        "Lg7^+Sft2#_`ak<9>=yx9=#^whsVgN9fXwm"
    )
)


@pytest.fixture(scope="module", params=["here", "4.22"])
def message(request, smbd) -> bytes:
    """A message of a real smbd: this system's, taken from its socket before a listener sees it."""
    from peers.smbd import PASSWORD

    if request.param == "4.22":
        return SAMBA_4_22

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{smbd.sockets}/recorded")
        listening.listen()
        remote = npipe.Smb(USER, PASSWORD, port=smbd.port)

        def dial() -> None:
            with pytest.raises(ConnectionRefusedError):
                npipe.connect(r"\\127.0.0.1\pipe\recorded", remote=remote, connect_timeout=30)

        dialling = threading.Thread(target=dial)
        dialling.start()
        client, _ = listening.accept()
        with client, client.makefile("rb") as file:
            size = file.read(4)
            recorded = size + file.read(int.from_bytes(size, "big"))
        dialling.join()
    return recorded


def test_a_real_message(message):
    greeting = npa.parse(message)
    assert greeting.authenticated
    assert greeting.level == npa.level_of(message)
    peer = greeting.peer
    assert (peer.account, peer.domain, peer.host) == (USER, "NPIPETEST", "127.0.0.1")
    assert peer.sid == peer.sids[0]
    assert peer.sid.startswith("S-1-5-21-")
    assert "S-1-5-11" in peer.sids  # authenticated users


def test_an_unknown_level_is_told_apart(message):
    for level in (0, 6, 9):
        changed = message[:8] + struct.pack("<I", level) + message[12:]
        with pytest.raises(npa.UnknownLevel):
            npa.parse(changed)


def test_a_message_cut_anywhere_is_refused(message):
    complete = npa.parse(message)
    for size in range(len(message)):
        try:
            assert npa.parse(message[:size]) == complete  # what is cut off says nothing of use
        except ValueError:
            continue


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_message_changed_anywhere_is_read_or_refused(message, data):
    changed = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        npa.parse(bytes(changed))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    with pytest.raises(ValueError):
        npa.parse(data)


def test_a_reply_repeats_the_level():
    for level in npa.LEVELS:
        reply = npa.reply(level)
        assert len(reply) == 36
        assert reply[:8] == b"\0\0\0\x20NPAM"
        assert struct.unpack_from("<II", reply, 8) == (level, level)
