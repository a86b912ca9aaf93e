"""The program that an ssh:// endpoint stands for. With a real sshd: ``tests/peers/test_ssh.py``."""

from __future__ import annotations

import pytest

from npipe.transport.ssh import is_ssh, ssh_command


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ssh://host/run/a.ipc", ["--", "host", "npipe cat /run/a.ipc"]),
        ("ssh://me@host:2222/a/b", ["-p", "2222", "--", "me@host", "npipe cat /a/b"]),
        ("ssh://host/~/a.ipc", ["--", "host", "npipe cat ./a.ipc"]),
        ("ssh://host/a%20b", ["--", "host", "npipe cat '/a b'"]),
        ("ssh://host/a;rm", ["--", "host", "npipe cat '/a;rm'"]),
        ("ssh://host/$(x)'y", ["--", "host", """npipe cat '/$(x)'"'"'y'"""]),
        ("ssh://-oProxyCommand=x/a", ["--", "-oproxycommand=x", "npipe cat /a"]),
        ("ssh://%2DoX@host/a", ["--", "-oX@host", "npipe cat /a"]),
    ],
)
def test_the_program(url: str, words: list[str]) -> None:
    assert is_ssh(url)
    assert ssh_command(url) == ["ssh", *words]


@pytest.mark.parametrize(
    "url",
    ["ssh:", "ssh://", "ssh://host", "ssh://host/", "ssh:/a", "ssh://host:x/a", "ssh://host/a?b"],
)
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="bad address"):
        ssh_command(url)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="a key") as caught:
        ssh_command("ssh://me:secret@host/a")
    assert "secret" not in str(caught.value)


def test_other_endpoints_are_none() -> None:
    for endpoint in ("npipe", "./ssh", ["ssh", "host"], "unix:ssh", None):
        assert not is_ssh(endpoint)
