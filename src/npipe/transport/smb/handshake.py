"""Opens a pipe: TCP, negotiation, log-on, ``IPC$``, open.

Only this file and ``socket_transport`` use smbprotocol, which uses Kerberos, NTLM and key
derivation of pyspnego. Two classes change its behaviour:

* ``SocketTransport``, in place of its TCP transport, ends every wait at one deadline and refuses
  messages longer than a handshake has;
* ``_StrictConnection`` refuses replies that are not protected as required.

Once the pipe is open, the socket and the keys are taken over and smbprotocol's thread ends. These
parts of it are not in its documentation, and ``tests/transport/smb/test_handshake.py`` checks that
each exists: ``Connection.transport`` and its methods, ``verify_signature``,
``outstanding_requests``, ``sequence_window``, ``cipher_id``, ``signing_algorithm_id``, and the keys
of a ``Session``.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from npipe.address import Address
from npipe.transport.smb import status
from npipe.transport.smb.channel import Opened
from npipe.transport.smb.options import Smb
from npipe.transport.smb.sealing import CMAC, HMAC, Encryption, Seal, Signing
from npipe.transport.smb.socket_transport import SocketTransport

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
except ModuleNotFoundError as _missing:
    raise ModuleNotFoundError(
        f'remote pipes need {_missing.name}: pip install "npipe[smb]"', name=_missing.name
    ) from None

__all__ = ["Handshake", "OpenedPipe"]


class OpenedPipe(NamedTuple):
    """An open pipe: its socket, and the protection of its messages."""

    sock: socket.socket
    opened: Opened


class _StrictConnection(Connection):  # type: ignore[misc,unused-ignore]
    """An SMB connection over a ``SocketTransport`` that refuses unprotected replies.

    MS-SMB2 requires this of a client (3.2.5.1.1 and 3.2.5.1.3). smbprotocol 1.17 checks a signature
    only if a reply has one, and accepts plaintext in an encrypted session.
    """

    def __init__(self, transport: SocketTransport, host: str, port: int) -> None:
        self._socket_transport = transport
        super().__init__(uuid.uuid4(), host, port, require_signing=True)

    @property
    def transport(self) -> SocketTransport:
        return self._socket_transport

    @transport.setter
    def transport(self, value: object) -> None:
        """Keep this module's transport: smbprotocol sets its own, unconnected, and None."""

    def verify_signature(self, header: Any, session_id: int, force: bool = False) -> None:
        """Check a reply that was not encrypted. Raises SMBException."""
        if not force:
            request = self.outstanding_requests[header["message_id"].get_value()]
            command = header["command"].get_value()
            if command != request.message["command"].get_value():
                raise SMBException("a reply to another request")
            # The session of the request. An attacker could choose that of the reply.
            session = self.session_table.get(request.session_id)
            if session is not None:
                force = self._require_protection(header, session)
                session_id = request.session_id
        super().verify_signature(header, session_id, force)

    def _require_protection(self, header: Any, session: Any) -> bool:
        """Tell whether the reply's signature must be checked. Raises SMBException."""
        if session.encrypt_data:
            raise SMBException("a plaintext reply on an encrypted session")
        if header["status"].get_value() == NtStatus.STATUS_PENDING:
            return False
        if not header["flags"].has_flag(Smb2Flags.SMB2_FLAGS_SIGNED):
            raise SMBException("an unsigned reply on a signed session")
        return True


class Handshake:
    """One attempt to log on, and attempts to open the pipe, until ``deadline``.

    ``abort`` ends them from any thread. ``end`` releases everything; call it last.
    """

    def __init__(self, address: Address, remote: Smb, deadline: float) -> None:
        assert address.host is not None
        self._path = str(address)
        self._host = address.host
        self._name = address.path.split("\\", 4)[4]
        self._remote = remote
        self._transport = SocketTransport(deadline)
        self._connection = _StrictConnection(self._transport, address.host, remote.port)
        self._session: Any = None
        self._tree: Any = None

    def log_on(self, **offer: Any) -> None:
        """Connect to the computer and log on.

        ``offer`` replaces the offered dialects, for tests.
        """
        self._transport.open(self._host, self._remote.port)
        with self._errors():
            self._connection.connect(timeout=self._transport.left(), **offer)
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

    def open_pipe(self, impersonation: int = ImpersonationLevel.Identification) -> OpenedPipe:
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
        return OpenedPipe(self._transport.hand_over(), opened)

    def abort(self) -> None:
        """End every wait, from any thread."""
        self._transport.abort()

    def end(self) -> None:
        """Release everything except a socket that was taken over."""
        self._transport.stop()
        worker = self._connection._t_worker
        if worker is not None:
            worker.join()
        self._transport.release()
        # The password and the keys are not needed after the handshake.
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
        """Turn smbprotocol's exceptions, which are not OSErrors, into those of ``connect``.

        It converts all exceptions, because messages of a hostile server make smbprotocol raise
        undocumented ones.
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
        """Return the error of a handshake that ended without a reply of the server."""
        self._transport.left()  # raises TimeoutError if the deadline was the reason
        if type(error).__module__.partition(".")[0] in ("gssapi", "krb5"):
            return PermissionError(errno.EACCES, f"Kerberos: {error}", self._path)
        text = self._transport.broken or str(error)
        if isinstance(error, SMBConnectionClosed) and not self._transport.broken:
            text = "the SMB server closed the connection during the handshake"
            return ConnectionResetError(errno.ECONNRESET, text, self._path)
        if "guest" in text:
            return PermissionError(
                errno.EACCES, "the server accepted the log-on as a guest only", self._path
            )
        if "encryption is required" in text:
            text = "the server cannot encrypt (with Smb(encrypt=False) messages are only signed)"
            return OSError(errno.EPROTONOSUPPORT, text, self._path)
        return ConnectionAbortedError(errno.ECONNABORTED, f"SMB handshake: {text}", self._path)


def _seal(connection: Any, session: Any, tree: Any) -> Seal:
    """Return the protection of this session for its further messages."""
    recent = connection.dialect >= Dialects.SMB_3_1_1
    if session.encrypt_data or tree.encrypt_data:
        cipher = connection.cipher_id if recent else 1  # 3.0 has AES-128-CCM only
        keys = session.encryption_key, session.decryption_key
        return Encryption(cipher, *keys, session.session_id)
    if recent and connection.signing_algorithm_id is not None:
        return Signing(connection.signing_algorithm_id, session.signing_key)
    algorithm = CMAC if connection.dialect >= Dialects.SMB_3_0_0 else HMAC
    return Signing(algorithm, session.signing_key)
