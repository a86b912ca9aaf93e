r"""From an address to an open pipe: TCP, negotiation, log-on, ``IPC$``, opening.

The one file that uses smbprotocol, which also knows Kerberos, NTLM and the derivation of keys, by
pyspnego. What it gets wrong for this purpose is put right by two subclasses:

* ``Link``, in the place of its TCP transport, ends every wait at one deadline and takes no
  message that is longer than a handshake's can be;
* ``StrictConnection`` takes no reply that is not protected as it should be.

Once the pipe is open, the socket and the keys are taken over and smbprotocol's thread ends.
These parts of it are not in its documentation, and ``tests/transport/smb/test_handshake.py`` looks
for each: ``Connection.transport`` and its methods, ``verify_signature``, ``outstanding_requests``,
``sequence_window``, ``cipher_id``, ``signing_algorithm_id``, and the keys of a ``Session``.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from npipe.address import Address
from npipe.transport.smb import status
from npipe.transport.smb.channel import Opened
from npipe.transport.smb.options import Smb
from npipe.transport.smb.sealing import CMAC, HMAC, Encryption, Seal, Signing
from npipe.transport.smb.waiter import Waiter

try:
    from smbprotocol.connection import Connection, Dialects
    from smbprotocol.exceptions import (
        SMBAuthenticationError,
        SMBConnectionClosed,
        SMBException,
        SMBResponseException,
    )
    from smbprotocol.header import NtStatus, Smb2Flags
    from smbprotocol.open import (
        CreateDisposition,
        CreateOptions,
        FilePipePrinterAccessMask,
        ImpersonationLevel,
        Open,
        ShareAccess,
    )
    from smbprotocol.session import Session
    from smbprotocol.tree import TreeConnect
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        f'remote pipes need {missing.name}: pip install "npipe[smb]"', name=missing.name
    ) from None

__all__ = ["Handshake", "Result"]

FRAME_LIMIT: Final = 1 << 18  # bytes: a log-on with a Kerberos ticket has some ten thousand


class Result(NamedTuple):
    """An open pipe: its socket, and what goes over it."""

    sock: socket.socket
    opened: Opened


class Link:
    """A TCP connection to an SMB server, as smbprotocol wants its transport to be.

    Every wait ends at ``deadline``, or when another thread calls ``abort``.
    """

    def __init__(self, deadline: float) -> None:
        self.connected = False
        self.broken = ""
        """What was wrong with a message that has come."""
        self._deadline = deadline
        self._guard = threading.Lock()
        self._sock: socket.socket | None = None
        self._waiter: Waiter | None = None
        self._ended = False

    def open(self, host: str, port: int) -> None:
        """Connect. Raises OSError, socket.gaierror and TimeoutError among it."""
        sock = socket.create_connection((host, port), timeout=self.left())
        _set_options(sock)
        with self._guard:
            self._sock, self._waiter = sock, Waiter(sock)
            self.connected = not self._ended

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "the deadline passed")
        return left

    def connect(self) -> None:
        """Do nothing: it is connected."""

    def send(self, message: Any) -> None:
        """Send one message, bytes or a structure of smbprotocol's, with its length."""
        sock = self._sock
        if sock is None or not self.connected:
            raise SMBConnectionClosed("the connection has ended")
        body: bytes = message if isinstance(message, bytes) else message.pack()
        data = memoryview(len(body).to_bytes(4, "big") + body)
        try:
            while data:
                data = data[self._when_ready(sock.send, data, to_write=True) :]
        except OSError as error:
            self.abort()
            raise SMBConnectionClosed(str(error)) from error

    def recv(self, timeout: float) -> bytes:
        """Return the next message, or ``b""`` when there will be none. smbprotocol's thread."""
        del timeout  # ours is the deadline
        try:
            size = int.from_bytes(self._exactly(4), "big")
            if size > FRAME_LIMIT:
                self.broken = f"a message of {size} bytes in the handshake"
                raise OSError(errno.EMSGSIZE, self.broken)
            return self._exactly(size)
        except OSError:
            self.connected = False  # before it returns: smbprotocol looks at it then
            return b""

    def close(self) -> None:
        """End the connection. smbprotocol does so when a reply is bad."""
        self.abort()

    def abort(self) -> None:
        """End the connection and every wait for it, from any thread."""
        self.stop()
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the socket, once no other thread uses it."""
        if self._waiter is not None:
            self._waiter.close()
        if self._sock is not None:
            self._sock.close()

    def hand_over(self) -> socket.socket:
        """Return the socket, open, and have smbprotocol's thread end. Raises TimeoutError."""
        self.left()
        with self._guard:
            if self._ended or self._sock is None:
                raise TimeoutError(errno.ETIMEDOUT, "given up")
            taken = self._sock.dup()
        self.stop()
        taken.setblocking(False)
        return taken

    def stop(self) -> None:
        """End every wait. The connection itself goes on, if it was handed over."""
        with self._guard:
            self._ended = True
            self.connected = False
            if self._waiter is not None:
                self._waiter.wake()

    def _exactly(self, size: int) -> bytes:
        sock = self._sock
        assert sock is not None
        data = b""
        while len(data) < size:
            part: bytes = self._when_ready(sock.recv, size - len(data))
            if not part:
                raise ConnectionResetError(errno.ECONNRESET, "the SMB server has hung up")
            data += part
        return data

    def _when_ready(self, call: Callable[[Any], Any], data: Any, *, to_write: bool = False) -> Any:
        """Call until it does not block. Raises OSError."""
        assert self._waiter is not None
        while True:
            if self._ended:
                raise ConnectionAbortedError(errno.ECONNABORTED, "given up")
            try:
                return call(data)
            except BlockingIOError:
                self._waiter.wait(self.left(), to_write=to_write)


def _set_options(sock: socket.socket) -> None:
    """Send small messages at once, and have the system notice a server that is not there."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


class StrictConnection(Connection):  # type: ignore[misc,unused-ignore]
    """An SMB connection over a ``Link`` that takes no reply which is not protected.

    MS-SMB2 asks a client for that (3.2.5.1.1 and 3.2.5.1.3). smbprotocol 1.17 checks a signature
    only where a reply has one, and takes plaintext in an encrypted session.
    """

    def __init__(self, link: Link, host: str, port: int) -> None:
        self._link = link
        super().__init__(uuid.uuid4(), host, port, require_signing=True)

    @property
    def transport(self) -> Link:
        return self._link

    @transport.setter
    def transport(self, value: object) -> None:
        """Keep the link: smbprotocol sets one of its own, not yet connected, and None."""

    def verify_signature(self, header: Any, session_id: int, force: bool = False) -> None:
        """Check a reply that was not encrypted. Raises SMBException."""
        if not force:
            request = self.outstanding_requests[header["message_id"].get_value()]
            command = header["command"].get_value()
            if command != request.message["command"].get_value():
                raise SMBException("a reply to another question")
            # The session of the request. That of the reply is the attacker's to choose.
            session = self.session_table.get(request.session_id)
            if session is not None:
                force = self._require_protection(header, session)
                session_id = request.session_id
        super().verify_signature(header, session_id, force)

    def _require_protection(self, header: Any, session: Any) -> bool:
        """Return whether the reply's signature must be checked. Raises SMBException."""
        if session.encrypt_data:
            raise SMBException("a plaintext reply on an encrypted session")
        if header["status"].get_value() == NtStatus.STATUS_PENDING:
            return False
        if not header["flags"].has_flag(Smb2Flags.SMB2_FLAGS_SIGNED):
            raise SMBException("an unsigned reply on a signed session")
        return True


class Handshake:
    """One attempt to log on, and attempts to open the pipe, up to ``deadline``.

    ``abort`` ends all of it, from any thread. ``end`` gives everything back; call it last.
    """

    def __init__(self, address: Address, remote: Smb, deadline: float) -> None:
        assert address.host is not None
        self._path = str(address)
        self._host = address.host
        self._name = address.path.split("\\", 4)[4]
        self._remote = remote
        self._link = Link(deadline)
        self._connection = StrictConnection(self._link, address.host, remote.port)
        self._session: Any = None
        self._tree: Any = None

    def log_on(self, **offer: Any) -> None:
        """Connect to the computer and log on. ``offer`` is for tests: what is negotiated."""
        self._link.open(self._host, self._remote.port)
        with self._errors():
            self._connection.connect(timeout=self._link.left(), **offer)
            remote = self._remote
            self._session = Session(
                self._connection,
                remote.username,
                remote.password,
                require_encryption=remote.encrypt,
                hostname_override=remote.hostname,
                auth_protocol=remote.auth,
            )
            self._session.connect()
            self._tree = TreeConnect(self._session, rf"\\{self._host}\IPC$")
            self._tree.connect()

    def open_pipe(self, impersonation: int = ImpersonationLevel.Identification) -> Result:
        """Open the pipe and take it over. ``impersonation`` is a level of MS-SMB2, 2.2.13."""
        mask = FilePipePrinterAccessMask
        pipe = Open(self._tree, self._name)
        with self._errors():
            pipe.create(
                impersonation,
                mask.FILE_READ_DATA
                | mask.FILE_WRITE_DATA
                | mask.FILE_READ_ATTRIBUTES
                | mask.SYNCHRONIZE,
                0,
                ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE,
                CreateDisposition.FILE_OPEN,
                CreateOptions.FILE_NON_DIRECTORY_FILE,
            )
        opened = self._take_over(pipe.file_id)
        return Result(self._link.hand_over(), opened)

    def abort(self) -> None:
        """End every wait, from any thread."""
        self._link.abort()

    def end(self) -> None:
        """Give everything back but the socket that was taken over."""
        self._link.stop()
        worker = self._connection._t_worker
        if worker is not None:
            worker.join()
        self._link.release()
        # The password and the keys do not have to outlive the handshake.
        self._session = self._tree = None

    def _take_over(self, file_id: bytes) -> Opened:
        connection, session = self._connection, self._session
        window = connection.sequence_window
        return Opened(
            seal=_seal(connection, session, self._tree),
            session_id=session.session_id,
            tree_id=self._tree.tree_connect_id,
            file_id=file_id,
            message_id=window["low"],
            credits=window["high"] - window["low"],
            multi_credit=bool(connection.supports_multi_credit),
            max_write=connection.max_write_size,
        )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn smbprotocol's exceptions, which are no OSError, into what ``connect`` raises.

        All of them: what a hostile server sends makes it raise a good many that it does not name.
        """
        try:
            yield
        except OSError:
            raise
        except SMBResponseException as error:
            if error.status in status.BUSY:
                raise status.BusyError(
                    errno.EBUSY, "every pipe instance is busy", self._path
                ) from error
            raise status.open_error(error.status, self._path) from error
        except SMBAuthenticationError as error:
            raise PermissionError(errno.EACCES, str(error), self._path) from error
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> OSError:
        """Return the error of a handshake that ended without an answer of the server's."""
        self._link.left()  # raises TimeoutError: the deadline was the reason
        if type(error).__module__.partition(".")[0] in ("gssapi", "krb5"):
            return PermissionError(errno.EACCES, f"Kerberos: {error}", self._path)
        text = self._link.broken or str(error)
        if isinstance(error, SMBConnectionClosed) and not self._link.broken:
            text = "the SMB server hung up in the handshake"
            return ConnectionResetError(errno.ECONNRESET, text, self._path)
        if "guest" in text:
            return PermissionError(errno.EACCES, "the server let us in as a guest only", self._path)
        if "encryption is required" in text:
            text = "the server cannot encrypt (Smb(encrypt=False) signs, and does not encrypt)"
            return OSError(errno.EPROTONOSUPPORT, text, self._path)
        return ConnectionAbortedError(errno.ECONNABORTED, f"SMB handshake: {text}", self._path)


def _seal(connection: Any, session: Any, tree: Any) -> Seal:
    """Return how this session protects its messages from now on."""
    recent = connection.dialect >= Dialects.SMB_3_1_1
    if session.encrypt_data or tree.encrypt_data:
        cipher = connection.cipher_id if recent else 1  # 3.0 has AES-128-CCM only
        keys = session.encryption_key, session.decryption_key
        return Encryption(cipher, *keys, session.session_id)
    if recent and connection.signing_algorithm_id is not None:
        return Signing(connection.signing_algorithm_id, session.signing_key)
    algorithm = CMAC if connection.dialect >= Dialects.SMB_3_0_0 else HMAC
    return Signing(algorithm, session.signing_key)
