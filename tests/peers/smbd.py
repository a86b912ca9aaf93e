"""A real smbd for one test session, without root: an ordinary process with directories of its own.

Debian's ``samba``, ``libnss-wrapper`` and ``libuid-wrapper`` are needed. smbd believes that it is
root (uid_wrapper) and that ``USER`` exists (nss_wrapper); it listens on loopback only.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peers.require import require

__all__ = ["PASSWORD", "USER", "Smbd", "free_port", "running_smbd"]

USER = "ciuser"
PASSWORD = "Passw0rd!"
OTHER = "other"  # a second account, of another uid

_CONF = """[global]
 netbios name = NPIPETEST
 server role = standalone server
 smb ports = {port}
 interfaces = 127.0.0.1/8
 bind interfaces only = yes
 disable netbios = yes
 private dir = {root}/private
 state directory = {root}/state
 cache directory = {root}/cache
 lock directory = {root}/lock
 pid directory = {root}/pid
 ncalrpc dir = {root}/ncalrpc
 log file = {root}/log/%m.log
 passdb backend = tdbsam:{root}/private/passdb.tdb
 rpc start on demand helpers = no
 load printers = no
 printcap name = /dev/null
 disable spoolss = yes
 {more}
"""


@dataclass
class Smbd:
    """A running smbd."""

    port: int
    root: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    @property
    def sockets(self) -> str:
        """The directory in which smbd looks for the sockets of pipes."""
        return str(self.root / "ncalrpc" / "np")

    def children(self) -> list[int]:
        """Return the processes that serve clients, all that smbd has started included."""
        found = []
        for each in glob.glob("/proc/[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                text = Path(each).read_text()
                fields = text.rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid:  # its process group
                    found.append(int(text.split()[0]))
        return sorted(set(found) - {self.process.pid})


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running_smbd(**options: str) -> Iterator[Smbd]:
    """Run smbd. ``options`` are more of smb.conf, ``_`` for a space."""
    smbd = require("smbd")
    wrappers = [_library("libnss_wrapper.so"), _library("libuid_wrapper.so")]
    root = Path(tempfile.mkdtemp(prefix="smbd"))
    process = None
    try:
        port = free_port()
        environment = _prepare(root, port, wrappers, options)
        process = subprocess.Popen(
            [smbd, "--foreground", "--no-process-group", "-s", root / "smb.conf"],
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _await(root, port, process)
        yield Smbd(port, root, process, environment)
    finally:
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        shutil.rmtree(root, ignore_errors=True)


def _library(name: str) -> str:
    places = [f"/usr/lib/*/{name}", f"/usr/lib/{name}", f"/usr/lib64/{name}"]
    for place in places:
        for path in glob.glob(place):
            return path
    require(name.removeprefix("lib").removesuffix(".so"))  # skips or fails
    raise FileNotFoundError(name)


def _prepare(root: Path, port: int, wrappers: list[str], options: dict[str, str]) -> dict[str, str]:
    uid, gid = os.getuid(), os.getgid()
    for name in ("private", "state", "cache", "lock", "pid", "log", "ncalrpc"):
        (root / name).mkdir(mode=0o700 if name == "private" else 0o755)
    root.chmod(0o755)
    more = "\n ".join(f"{key.replace('_', ' ')} = {value}" for key, value in options.items())
    (root / "smb.conf").write_text(_CONF.format(root=root, port=port, more=more))
    rows = [f"{USER}:x:{uid}:{gid}::/:/bin/false", f"{OTHER}:x:{uid + 7}:{gid + 7}::/:/bin/false"]
    if uid != 0:
        rows.insert(0, "root:x:0:0::/:/bin/false")
    (root / "passwd").write_text("\n".join([*rows, "nobody:x:65534:65534::/:/bin/false", ""]))
    groups = [f"{USER}:x:{gid}:", f"{OTHER}:x:{gid + 7}:", "nogroup:x:65534:"]
    (root / "group").write_text("\n".join(["root:x:0:"] * (gid != 0) + [*groups, ""]))
    environment = {
        **os.environ,
        "LD_PRELOAD": ":".join(wrappers),
        "UID_WRAPPER": "1",
        "UID_WRAPPER_ROOT": "1",
        "NSS_WRAPPER_PASSWD": str(root / "passwd"),
        "NSS_WRAPPER_GROUP": str(root / "group"),
    }
    for user in (USER, OTHER):
        subprocess.run(
            ["smbpasswd", "-c", root / "smb.conf", "-s", "-a", user],
            input=f"{PASSWORD}\n{PASSWORD}\n".encode(),
            env=environment,
            check=True,
            capture_output=True,
            timeout=60,
        )
    return environment


def _await(root: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until smbd listens, or say why it does not."""
    for _ in range(600):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    logs = "\n".join(path.read_text(errors="replace") for path in (root / "log").iterdir())
    raise AssertionError(f"smbd does not listen:\n{logs}")
