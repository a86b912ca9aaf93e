r"""Opening of a remote pipe, with one deadline for all its steps.

A name look-up and a request of a Kerberos library cannot be interrupted. So each attempt runs
in its own thread. A thread that does not end in time is left behind, and releases its resources
when it ends. asyncio uses the same thread (``npipe.aio.smb``).
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from npipe.address import Address
from npipe.security import PeerIdentity
from npipe.transport.smb.connection import SmbConnection
from npipe.transport.smb.options import Smb
from npipe.transport.smb.status import BusyError

if TYPE_CHECKING:
    from npipe.transport.smb.handshake import Handshake, OpenedPipe

__all__ = ["Dialling", "check", "connect", "exists", "server_identity", "verify"]

PATIENCE: Final = 30.0  # seconds for all steps if the caller gives no timeout
FIRST_PAUSE: Final = 0.01  # seconds between two attempts; doubles
LONGEST_PAUSE: Final = 0.25

IMPERSONATION: Final = ("anonymous", "identification", "impersonation", "delegation")

Verifier = str | Callable[[PeerIdentity], object] | None


def connect(
    address: Address,
    remote: Smb,
    *,
    timeout: float | None = None,
    wait: bool = False,
    verify_server: Verifier = None,
    impersonation: str = "identification",
) -> SmbConnection:
    """Connect to a remote pipe; see ``npipe.connect``."""
    check(address, remote, verify_server, impersonation)
    done = threading.Event()
    dialling = Dialling(address, remote, impersonation, timeout=timeout, wait=wait, on_end=done.set)
    try:
        done.wait(dialling.left())
        result = dialling.result()
    except BaseException:
        dialling.abandon()
        raise
    try:
        peer = server_identity(address, remote)
        verify(peer, address, verify_server)
        return SmbConnection(result, address, peer, remote.keepalive)
    except BaseException:
        result.sock.close()
        raise


def exists(address: Address, remote: Smb, *, timeout: float | None = None) -> bool:
    """Tell whether the pipe can be opened.

    SMB has no other way to test for a pipe: the server gets a client that disconnects at once.
    """
    try:
        connect(address, remote, timeout=timeout).close()
    except FileNotFoundError:
        return False
    return True


def check(address: Address, remote: object, verify_server: Verifier, impersonation: str) -> None:
    """Raise ValueError or TypeError for options that do not fit a remote pipe."""
    if not isinstance(remote, Smb):
        raise TypeError(f"remote={remote!r}: pass an npipe.Smb")
    if address.host is None:
        raise ValueError(
            rf"remote= is for \\host\pipe\name; {str(address)!r} is an address on this computer"
        )
    if impersonation not in IMPERSONATION:
        raise ValueError(
            f"impersonation={impersonation!r}: choose one of {', '.join(IMPERSONATION)}"
        )
    if verify_server == "owner":
        raise ValueError(
            'verify_server="owner" compares users of this computer; to verify a remote '
            'server, log on with auth="kerberos"'
        )
    if verify_server is not None and not callable(verify_server):
        raise ValueError(f"verify_server={verify_server!r}: pass a function or None")


def server_identity(address: Address, remote: Smb) -> PeerIdentity:
    """Return the identity of the server, as far as Kerberos has proven it."""
    proven = f"cifs/{remote.hostname or address.host}" if remote.auth == "kerberos" else None
    return PeerIdentity(account=proven, host=address.host)


def verify(peer: PeerIdentity, address: Address, verify_server: Verifier) -> None:
    """Raise PermissionError unless ``verify_server`` accepts the server."""
    if callable(verify_server) and not verify_server(peer):
        text = f"verify_server refused the server; its proven identity is {peer.account}"
        raise PermissionError(errno.EACCES, text, str(address))


class Dialling:
    """Opens the pipe in a thread, and calls ``on_end`` there when it has ended.

    ``result`` returns the pipe or raises, also if there is none yet; ``abandon`` ends the attempts.
    """

    def __init__(
        self,
        address: Address,
        remote: Smb,
        impersonation: str,
        *,
        timeout: float | None,
        wait: bool,
        on_end: Callable[[], object],
    ) -> None:
        self._address = address
        self._remote = remote
        self._impersonation = IMPERSONATION.index(impersonation)
        self._wait = wait
        self._on_end = on_end
        self._timeout = PATIENCE if timeout is None else timeout
        self._deadline = time.monotonic() + self._timeout
        self._guard = threading.Lock()
        self._handshake: Handshake | None = None
        self._result: OpenedPipe | BaseException | None = None
        self._stopped = threading.Event()
        self._why = "the computer did not answer"
        from npipe.transport.smb import (
            handshake,
        )  # needs the extra: raise here, in the caller's thread

        self._module = handshake
        threading.Thread(target=self._run, name="npipe-smb-dial", daemon=True).start()

    def left(self) -> float:
        """Return the remaining seconds; 0 if there are none."""
        return max(0.0, min(self._deadline - time.monotonic(), threading.TIMEOUT_MAX))

    def result(self) -> OpenedPipe:
        """Return the open pipe. Raises as ``connect``; TimeoutError if there is no result."""
        with self._guard:
            result, self._result = self._result, None
        if result is None:
            raise self._late()
        if isinstance(result, BaseException):
            try:
                raise result
            finally:
                del result  # otherwise the traceback and this frame form a reference cycle
        return result

    def abandon(self) -> None:
        """End the attempts, from any thread. Never blocks."""
        with self._guard:
            self._stopped.set()
            result, self._result = self._result, None
            handshake = self._handshake
        if handshake is not None:
            handshake.abort()
        if result is not None and not isinstance(result, BaseException):
            result.sock.close()

    def _run(self) -> None:
        try:
            result: OpenedPipe | BaseException = self._attempts()
        except BaseException as error:
            result = error
        with self._guard:
            kept = not self._stopped.is_set()
            if kept:
                self._result = result
        if kept:
            self._on_end()
        elif not isinstance(result, BaseException):
            result.sock.close()

    def _attempts(self) -> OpenedPipe:
        """Log on and open the pipe; retry until the deadline if the error may be temporary."""
        pause = FIRST_PAUSE
        while True:
            try:
                return self._attempt()
            except BusyError as error:
                self._why = str(error.strerror)
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if not self._wait:
                    raise
                self._why = f"no server appeared ({error.strerror})"
            except TimeoutError as error:
                raise self._late() from error
            if self._stopped.wait(min(pause, self.left())) or not self.left():
                raise self._late()
            pause = min(2 * pause, LONGEST_PAUSE)

    def _attempt(self) -> OpenedPipe:
        handshake = self._module.Handshake(self._address, self._remote, self._deadline)
        with self._guard:
            self._handshake = handshake
            if self._stopped.is_set():
                raise self._late()
        try:
            handshake.log_on()
            return handshake.open_pipe(self._impersonation)
        finally:
            with self._guard:
                self._handshake = None
            handshake.end()

    def _late(self) -> TimeoutError:
        text = f"{self._why} within {self._timeout:g} s"
        return TimeoutError(errno.ETIMEDOUT, text, str(self._address))
