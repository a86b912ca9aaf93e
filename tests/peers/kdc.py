"""A real MIT KDC for one test, on loopback and without root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peers.require import require
from peers.smbd import PASSWORD, USER, free_port

__all__ = ["HOST", "REALM", "Kdc", "running_kdc"]

REALM = "NPIPE.TEST"
HOST = "pipes.npipe.test"  # whom the service's tickets are for; nobody looks it up

_KRB5 = """[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
[realms]
 {realm} = {{
  kdc = 127.0.0.1:{port}
 }}
[domain_realm]
 .npipe.test = {realm}
"""
# Without a PAC: a Samba that is no member of a domain refuses a ticket that has one.
_KDC = """[kdcdefaults]
 kdc_listen = 127.0.0.1:{port}
 kdc_tcp_listen = 127.0.0.1:{port}
[realms]
 {realm} = {{
  database_name = {root}/principal
  key_stash_file = {root}/stash
  acl_file = {root}/acl
  max_life = 1h
  disable_pac = true
 }}
"""


@dataclass
class Kdc:
    """A running KDC. ``environment`` makes Kerberos use it, and ``keytab`` has smbd's key."""

    root: Path
    environment: dict[str, str]
    keytab: Path

    def kinit(self) -> None:
        """Get the tickets of USER, as a person would."""
        command = [require("kinit"), USER]
        subprocess.run(
            command,
            input=f"{PASSWORD}\n",
            text=True,
            env=os.environ | self.environment,
            check=True,
            capture_output=True,
            timeout=60,
        )


@contextlib.contextmanager
def running_kdc() -> Iterator[Kdc]:
    """Run a KDC with USER and the service ``cifs/HOST`` in its database."""
    krb5kdc = require("krb5kdc")
    with tempfile.TemporaryDirectory(prefix="kdc") as name:
        root, port = Path(name), free_port()
        (root / "krb5.conf").write_text(_KRB5.format(realm=REALM, port=port))
        (root / "kdc.conf").write_text(_KDC.format(realm=REALM, port=port, root=root))
        own = {
            "KRB5_CONFIG": str(root / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(root / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{root}/tickets",
        }
        environment = os.environ | own
        _run(environment, require("kdb5_util"), "create", "-s", "-P", "master")
        keytab = root / "keytab"
        for query in (
            f"addprinc -pw {PASSWORD} {USER}",
            f"addprinc -randkey cifs/{HOST}",
            f"ktadd -k {keytab} cifs/{HOST}",
        ):
            _run(environment, require("kadmin.local"), "-q", query)
        process = subprocess.Popen(
            [krb5kdc, "-n", "-P", root / "pid"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            kdc = Kdc(root, own, keytab)
            _await(kdc)
            yield kdc
        finally:
            process.terminate()
            process.wait(30)


def _run(environment: dict[str, str], *command: object) -> None:
    subprocess.run(
        list(map(str, command)), env=environment, check=True, capture_output=True, timeout=60
    )


def _await(kdc: Kdc) -> None:
    for _ in range(200):
        with contextlib.suppress(subprocess.CalledProcessError):
            kdc.kinit()
            (kdc.root / "tickets").unlink()
            return
        time.sleep(0.05)
    raise AssertionError("the KDC does not answer")
