"""npipe.address: every form that may be written, by the rules of every system, on any system."""

from __future__ import annotations

import pickle
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.address import Address, parse, runtime_directory


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("name", "/run/user/1000/npipe/name"),
        ("ipc:name", "/run/user/1000/npipe/name"),
        ("geth.ipc", "/run/user/1000/npipe/geth.ipc"),
        ("a name with blanks", "/run/user/1000/npipe/a name with blanks"),
        ("./path", "./path"),
        ("../path", "../path"),
        ("some/path", "some/path"),
        ("/run/my.sock", "/run/my.sock"),
        ("ipc:/run/my.sock", "/run/my.sock"),
        ("ipc:///run/my.sock", "/run/my.sock"),
        ("ipc:./my.sock", "./my.sock"),
        ("unix:///run/my.sock", "/run/my.sock"),
        ("unix:////run/my.sock", "/run/my.sock"),
        ("unix:/run/my.sock", "/run/my.sock"),
        ("unix:my.sock", "./my.sock"),
        ("/run/\u00e9t\u00e9", "/run/\u00e9t\u00e9"),
        ("/run/a:b", "/run/a:b"),
    ],
)
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_unix_sockets(text: str, path: str, platform: str) -> None:
    assert parse(text, platform=platform) == Address("unix", path)


PIPE = Address("pipe", r"\\.\pipe\name")
REMOTE = Address("pipe", r"\\host\pipe\name", "host")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("name", PIPE),
        ("ipc:name", PIPE),
        (r"\\.\pipe\name", PIPE),
        (r"\\.\PIPE\name", PIPE),
        ("//./pipe/name", PIPE),
        (r"ipc:\\.\pipe\name", PIPE),
        ("ipc://./pipe/name", PIPE),
        ("npipe:////./pipe/name", PIPE),
        ("npipe://./pipe/name", PIPE),
        (r"npipe:\\.\pipe\name", PIPE),
        (r"npipe://\\.\pipe\name", PIPE),
        (r"\\.\pipe\LOCAL\name", Address("pipe", r"\\.\pipe\LOCAL\name")),
        ("//./pipe/LOCAL/name", Address("pipe", r"\\.\pipe\LOCAL\name")),
        (r"\\host\pipe\name", REMOTE),
        ("npipe:////host/pipe/name", REMOTE),
        ("//host/pipe/name", REMOTE),
        ("a name", Address("pipe", r"\\.\pipe\a name")),
    ],
)
def test_windows_pipes(text: str, address: Address) -> None:
    assert parse(text, platform="win32") == address


def test_two_slashes_are_a_path_on_posix() -> None:
    assert parse("//run/pipe/x", platform="linux").kind == "unix"


def test_a_remote_pipe_is_understood_everywhere() -> None:
    assert parse(r"\\host\pipe\name", platform="linux") == REMOTE


def test_abstract_sockets_must_be_asked_for() -> None:
    with pytest.raises(ValueError, match=r"no permissions.*abstract=True"):
        parse("@name", platform="linux")
    assert parse("@name", abstract=True, platform="linux") == Address("abstract", "name")


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_abstract_sockets_exist_on_linux_only(platform: str) -> None:
    with pytest.raises(ValueError, match="Linux only"):
        parse("@name", abstract=True, platform=platform)


@pytest.mark.parametrize(
    ("text", "platform", "why"),
    [
        ("", "linux", "it is empty; give a name, a path"),
        ("ipc:", "linux", "it is empty"),
        ("", "win32", r"it is empty; give a name, or \\\\.\\pipe\\name"),
        ("a\0b", "linux", "NUL"),
        ("a\0b", "win32", "NUL"),
        ("@", "linux", "no name follows"),
        (r"\\.\pipe\name", "linux", "this system has no Windows pipes"),
        ("npipe:////./pipe/name", "darwin", "this system has no Windows pipes"),
        (r"C:\pipe.ipc", "linux", "a Windows path"),
        ("C:/pipe.ipc", "linux", "a Windows path"),
        (r"a\b", "linux", "backslash"),
        ("http://localhost", "linux", "unknown scheme 'http'"),
        ("tcp:8545", "linux", r"unknown scheme 'tcp' \(as a file name: ./tcp:8545\)"),
        ("npipe:name", "linux", "unknown scheme 'npipe'"),
        ("unix://run/x", "linux", "write three slashes"),
        ("ipc://run/x", "linux", "write three slashes"),
        ("unix:", "linux", "no path follows"),
        ("unix:///", "linux", "no path follows"),
        ("~/x", "linux", "expanduser"),
        ("unix:~/x", "linux", "expanduser"),
        ("/run/", "linux", "a directory"),
        ("..", "linux", "a directory"),
        ("./..", "linux", "a directory"),
        (r"C:\pipe.ipc", "win32", "the path of a Windows file"),
        ("C:/pipe.ipc", "win32", "the path of a Windows file"),
        ("c:", "win32", "the path of a Windows file"),
        (r"dir\name", "win32", "the path of a file"),
        ("./name", "win32", "the path of a file"),
        ("/tmp/x", "win32", "the path of a file"),
        ("unix:///tmp/x", "win32", "Unix sockets are not served here"),
        ("http://x", "win32", "unknown scheme"),
        ("\\\\.\\pipe\\", "win32", "no name follows"),
        ("//./pipe/", "win32", "no name follows"),
        ("\\\\host\\pipe\\", "linux", "no name follows"),
    ],
)
def test_bad_addresses_say_what_is_wrong(text: str, platform: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse(text, platform=platform, abstract=True)
    assert repr(text) in str(caught.value)
    assert "give a name" in str(caught.value)


@pytest.mark.parametrize(
    ("platform", "longest"), [("linux", "/" + "x" * 106), ("darwin", "/" + "x" * 102)]
)
def test_the_longest_socket_path(platform: str, longest: str) -> None:
    assert parse(longest, platform=platform).path == longest
    with pytest.raises(ValueError, match=f"{len(longest) + 1} bytes long .* allows {len(longest)}"):
        parse(longest + "x", platform=platform)
    with pytest.raises(ValueError, match="bytes long"):  # bytes, not characters
        parse(longest[:-1] + "\u00e9", platform=platform)


def test_the_longest_abstract_name() -> None:
    parse("@" + "x" * 107, abstract=True, platform="linux")
    with pytest.raises(ValueError, match="108 bytes long"):
        parse("@" + "x" * 108, abstract=True, platform="linux")


def test_a_bare_name_is_measured_with_its_directory() -> None:
    with pytest.raises(ValueError, match=r"/run/user/1000/npipe/xxx.* bytes long"):
        parse("x" * 100, platform="linux")


def test_the_longest_pipe_name() -> None:
    prefix = "\\\\.\\pipe\\"
    parse(prefix + "x" * (256 - len(prefix)), platform="win32")
    for name in ("x" * (257 - len(prefix)), "\U0001f600" * 124):  # UTF-16 units, as it counts
        with pytest.raises(ValueError, match="longer than 256"):
            parse(name, platform="win32")


def test_b29_a_bad_address_is_a_value_error_and_a_wrong_type_a_type_error() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        parse(b"name")  # type: ignore[arg-type]


def test_runtime_directory() -> None:
    assert runtime_directory({"XDG_RUNTIME_DIR": "/run/user/7/"}) == "/run/user/7/npipe"
    assert runtime_directory({"TMPDIR": "/var/tmp/"}).startswith("/var/tmp/npipe-")
    assert runtime_directory({}).startswith("/tmp/npipe-")
    # The XDG specification: a path that is not absolute is to be ignored.
    assert runtime_directory({"XDG_RUNTIME_DIR": "run", "TMPDIR": "tmp"}).startswith("/tmp/npipe-")


def test_an_address_is_a_value() -> None:
    assert len({Address("unix", "/x"), Address("unix", "/x"), Address("abstract", "/x")}) == 2
    assert pickle.loads(pickle.dumps(REMOTE)) == REMOTE
    with pytest.raises(AttributeError):
        PIPE.path = "other"  # type: ignore[misc]


texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.lists(
    st.sampled_from(["/", "\\", ".", ":", "@", "~", "pipe", "ipc:", "unix:", "npipe:", "x", "\0"]),
    max_size=9,
).map("".join)


@given(texts, st.sampled_from(["linux", "darwin", "win32"]))
def test_any_text_is_an_address_or_a_value_error(text: str, platform: str) -> None:
    try:
        address = parse(text, abstract=True, platform=platform)
    except ValueError:
        return
    # What it prints is what it is.
    assert parse(str(address), abstract=True, platform=platform) == address


@pytest.mark.parametrize(
    ("path", "text"), [("x", "./x"), ("a/b", "a/b"), ("/run/x", "/run/x"), ("./x", "./x")]
)
def test_a_path_is_that_of_a_file(path: str, text: str) -> None:
    assert parse(PurePosixPath(path), platform="linux") == parse(text, platform="linux")


@pytest.mark.parametrize("path", ["@/0", "a:/b", "c:/x", "ssh://x/y", "ipc:x/y", "ab:c"])
@pytest.mark.parametrize("prefix", ["unix:", "UNIX:", "ipc:unix:"])
def test_a_path_stays_a_path_when_its_text_is_read_again(prefix: str, path: str) -> None:
    address = parse(prefix + path, platform="linux")
    assert address.kind == "unix"
    assert address.path == f"./{path}"
    assert parse(str(address), abstract=True, platform="linux") == address


@pytest.mark.parametrize("path", ["@/0", "ssh:/x/y", "ab:c/d"])
def test_a_path_object_is_always_a_file(path: str) -> None:
    address = parse(PurePosixPath(path), abstract=True, platform="linux")
    assert (address.kind, address.path) == ("unix", f"./{path}")


def test_a_path_of_bytes_is_none() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        parse(b"x")  # type: ignore[arg-type]
