"""How to log on to another computer, as the commands' options say it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from npipe.cli.remote import PASSWORD, Remote, remote_options

ADDRESS = r"\\host\pipe\x"


@click.command()
@click.argument("address")
@remote_options
def command(*, address: str, remote: Remote) -> None:
    click.echo(repr(remote.options(address)))


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    for name in (PASSWORD, "NPIPE_SMB_USER", "NPIPE_SMB_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)
    yield CliRunner()


def run(runner: CliRunner, *arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    done = runner.invoke(command, list(arguments), env=env)
    return done.exit_code, done.output


def test_an_address_on_this_computer_needs_nothing(runner):
    env = {"NPIPE_SMB_USER": "me"}
    for address in ("npipe", "unix:/run/x", "ssh://host/x", "tcp:1"):
        assert run(runner, address, env=env) == (0, "{}\n")


def test_the_password_comes_from_a_file_or_the_environment(runner, tmp_path: Path):
    file = tmp_path / "password"
    file.write_text("secret\nnot this\n")
    for code, text in (
        run(runner, ADDRESS, "--user", "me", "--password-file", str(file)),
        run(runner, ADDRESS, "--user", "me", env={PASSWORD: "secret"}),
        run(runner, ADDRESS, env={PASSWORD: "secret", "NPIPE_SMB_USER": "me"}),
    ):
        assert (code, "username='me'" in text, "secret" in text) == (0, True, False)


def test_a_prompt_asks_a_person_only(runner, monkeypatch: pytest.MonkeyPatch):
    code, text = run(runner, ADDRESS, "--user", "me")
    assert (code, "--password-file" in text) == (2, True)
    remote = Remote("me", None, "negotiate", 445, None, True)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr(click, "prompt", lambda text, **options: f"{text} {options['hide_input']}")
    assert remote.options(ADDRESS)["remote"].password == "Password of me True"


def test_kerberos_needs_neither(runner):
    code, text = run(
        runner, ADDRESS, "--auth", "kerberos", "--smb-hostname", "h", "--smb-port", "1"
    )
    assert code == 0
    for part in ("username=None", "auth='kerberos'", "hostname='h'", "port=1", "encrypt=True"):
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--user", "me", "--password-file", "./missing"], "--password-file"),
        (["--user", "me", "--smb-port", "0"], "--smb-port"),
        *([([], "--user NAME")] if sys.platform != "win32" else []),
    ],
)
def test_what_is_missing_is_said(runner, arguments, said):
    code, text = run(runner, ADDRESS, *arguments)
    assert (code, said in text) == (2, True)


def test_no_encryption_is_said(runner):
    options = ["--user", "me", "--no-smb-encryption"]
    assert "encrypt=False" in run(runner, ADDRESS, *options, env={PASSWORD: "secret"})[1]
