"""The options of a remote pipe besides its address: pure data."""

from __future__ import annotations

from npipe.record import Record

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
    from typing import Literal

    Auth = Literal["negotiate", "ntlm", "kerberos"]

__all__ = ["Smb"]

_AUTHS = ("negotiate", "ntlm", "kerberos")


class Smb(Record):
    r"""The log-on to the computer of a remote pipe: the ``remote`` option of ``connect``.

    ``repr`` hides the password. An instance may be used for any number of connections; each of
    them logs on separately, and shares nothing with others.

    Args:
        username: ``user``, ``DOMAIN\user`` or ``user@realm``. None, with ``auth="kerberos"``
            only: the user of the ambient Kerberos tickets.
        password: Its password. None, with ``auth="kerberos"`` only: the tickets of ``username``.
        auth: The authentication. "kerberos": it proves that the server is the one in the
            address. "ntlm": it proves only that the server knows the password, or that it can
            ask a domain controller. "negotiate": Kerberos if it is available, else NTLM.
        port: The TCP port of the SMB server.
        encrypt: Whether to encrypt everything after the log-on (SMB 3). With False everything is
            signed, which prevents changes but not reading.
        hostname: The server's name in its Kerberos identity, if the address has another one,
            such as an IP address.
        keepalive: The interval, in seconds, of echo requests to a server that does not answer a
            read or a write. If the server does not answer one before the next is due, the
            connection is lost.

    Raises:
        ValueError: An option is invalid.
    """

    _fields = ("username", "password", "auth", "port", "encrypt", "hostname", "keepalive")
    __slots__ = _fields

    username: str | None
    password: str | None
    auth: Auth
    port: int
    encrypt: bool
    hostname: str | None
    keepalive: float

    def __init__(
        self,
        username: str | None = None,
        password: str | None = None,
        *,
        auth: Auth = "negotiate",
        port: int = 445,
        encrypt: bool = True,
        hostname: str | None = None,
        keepalive: float = 5.0,
    ) -> None:
        if auth not in _AUTHS:
            raise ValueError(f"auth={auth!r}: choose one of {', '.join(_AUTHS)}")
        if auth != "kerberos" and not (username and password):
            raise ValueError(
                "a remote pipe needs a username and a password; to use the Kerberos tickets "
                'of this user, pass auth="kerberos"'
            )
        if password is not None and not username:
            raise ValueError("a password without a username")
        if not isinstance(port, int) or not 0 < port < 65536:
            raise ValueError(f"port={port!r}: pass a TCP port")
        if not keepalive > 0:
            raise ValueError(f"keepalive={keepalive!r}: pass a number of seconds")
        self._set(
            username=username,
            password=password,
            auth=auth,
            port=port,
            encrypt=encrypt,
            hostname=hostname,
            keepalive=keepalive,
        )

    def __repr__(self) -> str:
        shown = ("***" if name == "password" and value else value for name, value in self._items())
        fields = zip(self._fields, shown, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

    def _items(self) -> zip[tuple[str, object]]:
        return zip(self._fields, self._values(), strict=True)
