r"""Parsing of addresses. This module does not touch the file system or the network.

Code must never stat, resolve or test the path of a pipe: on Windows that connects to the pipe.

The forms of an address that ``parse`` accepts:

=========================  ===================================================================
``name``                   Windows: ``\\.\pipe\name``; else a socket in ``runtime_directory()``
``./path``, ``/path``      a Unix socket
``\\.\pipe\name``          a Windows pipe; ``//./pipe/name`` is the same
``\\host\pipe\name``       a pipe of another computer
``ipc:X``                  the same as X
``npipe:////./pipe/name``  a Windows pipe, as Docker writes it
``unix:///path``           a Unix socket, also ``unix:path``
``@name``                  a Linux abstract socket; only with ``abstract=True``
=========================  ===================================================================
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from npipe.record import Record

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
    from typing import Literal

__all__ = ["Address", "is_bare_name", "parse", "require_plain_name", "runtime_directory"]

# Bytes in sockaddr_un.sun_path without the closing NUL: the field has 108 bytes on Linux (man page
# unix(7)) and 104 on macOS and BSD.
_LONGEST_SOCKET_LINUX = 107
_LONGEST_SOCKET_BSD = 103
_LONGEST_PIPE = 256  # UTF-16 units with the prefix \\.\pipe\ (Microsoft page CreateNamedPipeW)

# These patterns are compiled at their first use: compiling them here would add a tenth to the time
# of `import npipe`.
_PIPE = r"(?is)[\\/]{2}(?P<host>[^\\/]+)[\\/]pipe[\\/](?P<name>.*)"
_DRIVE = r"[A-Za-z]:([\\/]|$)"
_SCHEME = r"(?s:([A-Za-z][A-Za-z0-9+.-]+):(.*))"
_NO_PATH = rf"@|{_SCHEME}|{_DRIVE}"  # relative paths that would be read as something else
_WHAT_IS_RIGHT = {
    True: r"give a name, or \\.\pipe\name",
    False: "give a name, a path with a slash in it (./name, /run/name), or unix:PATH",
}


class Address(Record):
    r"""Address of a server.

    ``str()`` returns text that ``parse`` reads as the same address, except for the kinds "memory"
    and "nats".

    Args:
        kind: "pipe" (Windows), "unix" (a socket file), "abstract" (a Linux socket without a file),
            "memory" (``npipe.testing.memory_pair``; not an endpoint of the system) or "nats"
            (accepted by ``npipe.rpc`` only).
        path: For "pipe" the path ``\\.\pipe\name``, or ``\\host\pipe\name`` with ``host`` set; for
            "unix" the path of the socket file; for "abstract" the name without the leading NUL.
        host: Name of another computer, for a remote pipe; None on this computer.
    """

    _fields = ("kind", "path", "host")
    __slots__ = _fields

    kind: Literal["pipe", "unix", "abstract", "memory", "nats"]
    path: str
    host: str | None

    def __init__(
        self,
        kind: Literal["pipe", "unix", "abstract", "memory", "nats"],
        path: str,
        host: str | None = None,
    ) -> None:
        self._set(kind=kind, path=path, host=host)

    def __str__(self) -> str:
        return "@" + self.path if self.kind == "abstract" else self.path


def parse(
    text: str | os.PathLike[str], *, abstract: bool = False, platform: str = sys.platform
) -> Address:
    """Parse an address by the table in this module and the rules of ``platform``.

    Args:
        text: The address. An ``os.PathLike`` is always the path of a file, also where it contains
            no slash.
        abstract: Whether to accept ``@name``, a Linux abstract socket. An abstract socket has no
            permissions (man page unix(7)), so the caller has to allow it.
        platform: The system whose rules apply, as in ``sys.platform``.

    Returns:
        The address. A bare name is expanded to the full path.

    Raises:
        ValueError: The text is not an address on this system. The message says what is wrong and
            which form would be right.
        TypeError: ``text`` is neither a str nor a path.
    """
    import re  # slow to import: not before it is needed

    if isinstance(text, os.PathLike):
        text = _text_of_path(text)
    if not isinstance(text, str):
        raise TypeError(f"an address is a str, a path or an Address, not {type(text).__name__}")
    windows = platform == "win32"
    rest = text.removeprefix("ipc:")
    if not rest:
        raise _bad(text, "it is empty", windows)
    if "\0" in rest:
        raise _bad(text, "it contains a NUL character", windows)
    if pipe := _as_pipe(rest, windows):
        return _pipe(text, *pipe, windows)
    if re.match(_DRIVE, rest):
        why = "it is the path of a Windows file, not of a pipe"
        raise _bad(text, why if windows else "it is a Windows path", windows)
    if rest.startswith("@"):
        return _abstract(text, rest[1:], abstract, platform)
    if windows:
        return _windows_name(text, rest)
    return _socket(text, _socket_path(text, rest, platform), platform)


def is_bare_name(text: str) -> bool:
    """Tell whether an address is a bare name, without a path and without a scheme.

    Args:
        text: The address; a leading ``ipc:`` does not count.

    Returns:
        True if ``parse`` puts the name in the default place of the system.
    """
    return not set("/\\@:") & set(text.removeprefix("ipc:"))


def runtime_directory(
    environ: Mapping[str, str] | None = None, *, platform: str = sys.platform
) -> str:
    """Return the directory of bare names on POSIX, which only its owner may enter (mode 0700).

    This function builds a path only. The transport checks before each use whether the directory
    exists and is safe.

    Args:
        environ: Environment variables; None reads ``os.environ``.
        platform: The system whose rules apply, as in ``sys.platform``.

    Returns:
        ``$XDG_RUNTIME_DIR/npipe`` (XDG Base Directory Specification), or ``npipe-UID`` in the
        temporary directory where that variable is not set or is not absolute.
    """
    environ = os.environ if environ is None else environ
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):  # the XDG specification: ignore one that is not absolute
        return runtime.rstrip("/") + "/npipe"
    temporary = environ.get("TMPDIR", "")
    if not temporary.startswith("/"):
        temporary = "/tmp"
    uid = 0
    if sys.platform != "win32":
        uid = os.geteuid()  # the transport checks the owner by this id too
    return f"{temporary.rstrip('/')}/npipe-{uid}"


def _text_of_path(path: os.PathLike[str]) -> str:
    import re  # slow to import: not before it is needed

    text = os.fspath(path)
    if not isinstance(text, str):
        return text
    is_path = ("/" in text or "\\" in text) and not re.match(rf"@|{_SCHEME}", text)
    return text if is_path else f"./{text}"


def _as_pipe(text: str, windows: bool) -> tuple[str, str] | None:
    r"""Return (host, name) if ``text`` has the form of a Windows pipe, else None.

    On POSIX ``//host/pipe/x`` is a file path, unless it follows ``npipe:``.
    """
    import re  # slow to import: not before it is needed

    scheme, _, rest = text.partition(":")
    if docker := scheme.lower() == "npipe":
        text = rest[2:] if rest.startswith(("////", r"//\\")) else rest
    found = re.fullmatch(_PIPE, text)
    if not found:
        return None
    if text.startswith("/") and found["host"] != "." and not (docker or windows):
        return None
    return found["host"], found["name"].replace("/", "\\")


def _pipe(text: str, host: str, name: str, windows: bool) -> Address:
    if not name.strip("\\"):
        raise _bad(text, r"no name follows \pipe" + "\\", windows)
    if why := _changed_by_windows(name):
        raise _bad(text, why, windows)
    path = rf"\\{host}\pipe" + "\\" + name
    if len(path.encode("utf-16-le", "surrogatepass")) > 2 * _LONGEST_PIPE:
        raise _bad(text, f"it is longer than {_LONGEST_PIPE} characters", windows)
    if host == "?":  # Node's form, which Windows does not normalise
        host, path = ".", r"\\.\pipe" + "\\" + name
    if host != ".":
        return Address("pipe", path, host)
    if not windows:
        raise _bad(text, "this system has no Windows pipes", windows)
    return Address("pipe", path)


def require_plain_name(address: Address) -> None:
    r"""Check that Windows takes the path of a pipe literally.

    Win32 drops trailing dots and spaces and evaluates ``..``, so that ``\\.\pipe\..\C:\x`` is a
    file (Microsoft page "Naming Files, Paths, and Namespaces"); a NUL would end the path.

    Args:
        address: The address of a pipe.

    Raises:
        ValueError: Windows would open another path.
    """
    name = address.path.lower().partition("\\pipe\\")[2]
    if why := _changed_by_windows(name):
        raise ValueError(f"bad address {address.path!r}: {why}")


def _changed_by_windows(name: str) -> str | None:
    """Return the reason why Windows would change the name of a pipe; None if it would not."""
    if "\0" in name:
        return "it contains a NUL character"
    parts = name.split("\\")
    if "" in parts or "." in parts or ".." in parts:
        return "Windows evaluates an empty part, '.' and '..' in a name"
    if any(part.endswith((".", " ")) for part in parts):
        return "Windows drops a dot or space at the end of a name"
    return None


def _windows_name(text: str, rest: str) -> Address:
    import re  # slow to import: not before it is needed

    if found := re.fullmatch(_SCHEME, rest):
        what = "Unix sockets are not served here" if found[1] == "unix" else "unknown scheme"
        raise _bad(text, f"{found[1]}: {what}", True)
    if "/" in rest or "\\" in rest:
        raise _bad(text, "it is the path of a file, not of a pipe", True)
    return _pipe(text, ".", rest, True)


def _abstract(text: str, name: str, abstract: bool, platform: str) -> Address:
    windows = platform == "win32"
    if platform != "linux":
        raise _bad(text, "abstract sockets exist on Linux only", windows)
    if not abstract:
        raise _bad(
            text,
            "an abstract socket has no permissions: any user of the computer may bind its name; "
            "to use one, call parse(text, abstract=True)",
            windows,
        )
    if not name:
        raise _bad(text, "no name follows the @", windows)
    return _socket(text, Address("abstract", name), platform)


def _socket_path(text: str, rest: str, platform: str) -> Address:
    """Return the address of the socket for a name, a path or a ``unix:`` URL."""
    import re  # slow to import: not before it is needed

    if rest.startswith("//") and text != rest:  # ipc:///path
        rest = _url_path(text, rest)
    elif found := re.fullmatch(_SCHEME, rest):
        if found[1].lower() != "unix":
            raise _bad(text, f"unknown scheme {found[1]!r} (as a file name: ./{rest})", False)
        rest = _url_path(text, found[2])
        if "/" not in rest or re.match(_NO_PATH, rest):
            rest = "./" + rest  # without ./ it would parse as another kind of address
    if rest.startswith("~"):
        raise _bad(text, "'~' is not expanded here: use os.path.expanduser", False)
    if rest in (".", "..") or rest.endswith(("/", "/.", "/..")):
        raise _bad(text, "it is a directory", False)
    if "/" in rest:
        return Address("unix", rest)
    if "\\" in rest:
        raise _bad(text, "a backslash is no separator on this system", False)
    return Address("unix", f"{runtime_directory(platform=platform)}/{rest}")


def _url_path(text: str, rest: str) -> str:
    """Strip the empty authority of ``scheme:///path`` (RFC 3986); keep ``scheme:path`` as it is."""
    if not rest.startswith("//"):
        path = rest
    elif rest.startswith("///"):
        path = "/" + rest.lstrip("/")
    else:
        raise _bad(text, "write three slashes after the scheme, or none", False)
    if not path.strip("/"):
        raise _bad(text, "no path follows the scheme", False)
    return path


def _socket(text: str, address: Address, platform: str) -> Address:
    """Check the length of a socket's path in bytes, as the kernel does."""
    longest = _LONGEST_SOCKET_LINUX if platform == "linux" else _LONGEST_SOCKET_BSD
    size = len(address.path.encode("utf-8", "surrogateescape"))
    if size > longest:
        why = f"{address.path!r} is {size} bytes long and the system allows {longest}"
        raise _bad(text, why, False)
    return address


def _bad(text: str, why: str, windows: bool) -> ValueError:
    return ValueError(f"bad address {text!r}: {why}; {_WHAT_IS_RIGHT[windows]}")
