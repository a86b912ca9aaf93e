"""Kerberos, with a real KDC: by password, by the tickets of ``kinit``, and what it proves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import npipe
from peers.kdc import HOST, REALM, Kdc, running_kdc
from peers.require import has_module, require
from peers.smbd import PASSWORD, USER, Smbd, running_smbd

if sys.platform == "win32":
    pytest.skip("there is no smbd for Windows", allow_module_level=True)
if not has_module("smbprotocol") or not has_module("gssapi"):
    pytest.skip('needs the extra "smb-kerberos"', allow_module_level=True)

ADDRESS = r"\\127.0.0.1\pipe\k"


@pytest.fixture(scope="module")
def kdc() -> Iterator[Kdc]:
    with running_kdc() as running:
        yield running


@pytest.fixture(scope="module")
def smbd(kdc: Kdc) -> Iterator[Smbd]:
    with running_smbd(
        realm=REALM,
        kerberos_method="dedicated keytab",
        dedicated_keytab_file=f"FILE:{kdc.keytab}",
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def environment(kdc: Kdc, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)


def check(remote: npipe.Smb, smbd: Smbd) -> None:
    with npipe.SambaListener("k", directory=smbd.sockets) as listener:
        seen: list[npipe.PeerIdentity] = []

        def is_proven(peer: npipe.PeerIdentity) -> bool:
            seen.append(peer)
            return peer.account == f"cifs/{HOST}"

        with (
            npipe.connect(
                ADDRESS, remote=remote, connect_timeout=30, verify_server=is_proven
            ) as client,
            listener.accept(timeout=30) as server,
        ):
            assert server.peer.account == USER
            client.write(b"x")
            assert server.read(1) == b"x"
        assert len(seen) == 1


def test_a_password(smbd):
    user = f"{USER}@{REALM}"
    remote = npipe.Smb(user, PASSWORD, auth="kerberos", port=smbd.port, hostname=HOST)
    check(remote, smbd)


def test_the_tickets_of_this_user(smbd, kdc):
    kdc.kinit()
    check(npipe.Smb(auth="kerberos", port=smbd.port, hostname=HOST), smbd)


def test_no_ticket_and_a_wrong_password(smbd, kdc):
    (kdc.root / "tickets").unlink(missing_ok=True)
    for remote in (
        npipe.Smb(auth="kerberos", port=smbd.port, hostname=HOST),
        npipe.Smb(f"{USER}@{REALM}", "guessed", auth="kerberos", port=smbd.port, hostname=HOST),
    ):
        with pytest.raises(PermissionError) as caught:
            npipe.connect(ADDRESS, remote=remote, connect_timeout=30)
        assert "guessed" not in str(caught.value)


def test_a_server_that_has_not_the_key_is_refused(smbd, kdc):
    """The KDC knows another service; smbd cannot read the ticket for it."""
    query = "addprinc -randkey cifs/other.npipe.test"
    subprocess.run(
        [require("kadmin.local"), "-q", query],
        env=os.environ | kdc.environment,
        check=True,
        capture_output=True,
        timeout=60,
    )
    kdc.kinit()
    remote = npipe.Smb(auth="kerberos", port=smbd.port, hostname="other.npipe.test")
    with pytest.raises(PermissionError):
        npipe.connect(ADDRESS, remote=remote, connect_timeout=30)
