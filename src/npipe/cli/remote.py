r"""Options of commands that connect: the check of the server, and the log-on to another computer.

The password is not an option, because every user of this computer can see options. It comes from
a file, the environment, or a prompt.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from npipe.address import parse
from npipe.transport.smb.options import Smb

if TYPE_CHECKING:
    from npipe.transport.smb.options import Auth

__all__ = ["PASSWORD", "Remote", "nats_options", "remote_options"]

PASSWORD: Final = "NPIPE_SMB_PASSWORD"  # the environment variable


class Remote(NamedTuple):
    """The options for the log-on to another computer."""

    user: str | None
    password_file: str | None
    auth: Auth
    port: int
    hostname: str | None
    encrypt: bool
    verify_server: str = "auto"

    def options(self, address: str) -> dict[str, Any]:
        """Return the options of ``npipe.connect`` for ``address``.

        Most are for an address on another computer. Raises UsageError if the user is missing,
        ValueError for a bad address.
        """
        check: dict[str, Any] = {}
        if self.verify_server != "auto":
            check["verify_server"] = None if self.verify_server == "none" else "owner"
        return {**self._log_on(address), **check}

    def _log_on(self, address: str) -> dict[str, Any]:
        if _host(address) is None:
            return {}
        if self.user is None and self.auth != "kerberos":
            if sys.platform == "win32":
                return {}  # Windows connects as the user of this process
            raise click.UsageError(
                f"{address} is on another computer: pass --user NAME, or --auth kerberos"
            )
        try:
            return {
                "remote": Smb(
                    self.user,
                    self._password(),
                    auth=self.auth,
                    port=self.port,
                    hostname=self.hostname,
                    encrypt=self.encrypt,
                )
            }
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def _password(self) -> str | None:
        if self.password_file is not None:
            try:
                with open(self.password_file, encoding="utf-8") as file:
                    return file.readline().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise click.UsageError(f"--password-file: {error}") from None
        if PASSWORD in os.environ:
            return os.environ[PASSWORD]
        if self.auth == "kerberos":
            return None  # a Kerberos ticket replaces it
        if not sys.stdin.isatty():
            raise click.UsageError(
                f"no password for {self.user}: pass --password-file FILE, or set {PASSWORD}"
            )
        password: str = click.prompt(f"Password of {self.user}", hide_input=True, err=True)
        return password


def _host(address: str) -> str | None:
    """Return the other computer's name; None for an address on this one, or of another kind."""
    try:
        return parse(address).host
    except ValueError:
        return None  # invalid (the command reports it), or ssh://, or stdio:


def remote_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as ``remote``, a Remote."""

    @click.option(
        "--user",
        envvar="NPIPE_SMB_USER",
        metavar="NAME",
        help=r"Log on to the computer of \\host\pipe\name as this user: NAME or DOMAIN\NAME.",
    )
    @click.option(
        "--password-file",
        envvar="NPIPE_SMB_PASSWORD_FILE",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Read the password from the first line of this file. Otherwise it comes from "
        f"${PASSWORD} or a prompt.",
    )
    @click.option(
        "--auth",
        type=click.Choice(["negotiate", "ntlm", "kerberos"]),
        default="negotiate",
        show_default=True,
        help="The authentication; kerberos uses the tickets of this user.",
    )
    @click.option("--smb-port", type=click.IntRange(1, 65535), default=445, show_default=True)
    @click.option("--smb-hostname", metavar="NAME", help="The name of the computer in Kerberos.")
    @click.option(
        "--no-smb-encryption", is_flag=True, help="Sign the traffic, but do not encrypt it."
    )
    @click.option(
        "--verify-server",
        type=click.Choice(["auto", "owner", "none"]),
        default="auto",
        show_default=True,
        help="Accept only a server of your own user. auto: only for a bare name on Windows.",
    )
    @wraps(command)
    def with_remote(
        *,
        user: str | None,
        password_file: str | None,
        auth: Auth,
        smb_port: int,
        smb_hostname: str | None,
        no_smb_encryption: bool,
        verify_server: str,
        **others: Any,
    ) -> None:
        encrypt = not no_smb_encryption
        remote = Remote(user, password_file, auth, smb_port, smb_hostname, encrypt, verify_server)
        command(remote=remote, **others)

    return with_remote


def nats_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options for a NATS broker, which ``npipe.integrations.nats`` reads as variables."""

    def set_variable(_: click.Context, option: click.Parameter, path: str | None) -> None:
        if path is not None:
            assert isinstance(option.envvar, str)
            os.environ[option.envvar] = path

    file = click.Path(exists=True, dir_okay=False)
    creds = click.option(
        "--nats-creds",
        envvar="NATS_CREDS",
        type=file,
        metavar="FILE",
        expose_value=False,
        callback=set_variable,
        help="The credentials for a nats:// broker: a JWT and its key.",
    )
    authority = click.option(
        "--nats-ca",
        envvar="NATS_CA",
        type=file,
        metavar="FILE",
        expose_value=False,
        callback=set_variable,
        help="The certificates to trust of a tls:// broker.",
    )
    return creds(authority(command))
