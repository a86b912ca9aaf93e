"""The command line as a whole: help, versions, what is imported."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import npipe
from npipe import rpc
from npipe.cli.app import COMMANDS, cli


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = CliRunner().invoke(cli, [command, "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output
    assert f"npipe {command}" in done.output.partition("Example")[2]


def test_python_m_npipe_is_the_same_command(env: dict[str, str]) -> None:
    """For an environment whose scripts are not on PATH."""
    command = [sys.executable, "-m", "npipe", "--version"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("npipe ")


def test_help_lists_every_command() -> None:
    done = CliRunner().invoke(cli, ["--help"])
    assert all(f"  {command}  " in done.output for command in COMMANDS)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_the_text_of_the_list_is_the_commands_own(command: str) -> None:
    help_text = getattr(cli.get_command(click.Context(cli), command), "help", "")
    assert help_text.partition("\n")[0] == COMMANDS[command]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["call"],
        ["call", "a"],
        ["serve", "a", "b"],
        ["serve", "--balance", "much"],
        ["serve", "--access", "99"],
        ["serve", "--block-time", "0"],
        ["serve", "--max-connections", "0"],
        ["serve", "--api", "json", "--chain-id", "7"],
        ["attach", "--timeout", "-1"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output


def test_version() -> None:
    build = "compiled" if rpc.COMPILED else "pure Python"
    output = CliRunner().invoke(cli, ["--version"]).output
    assert output.startswith(f"npipe {npipe.__version__} ({build})\n")


def python(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


SLOW = {"asyncio", "eth", "npipe.ethereum", "prompt_toolkit", "rich", "ssl"}
"""Modules that a short command does not need."""
if sys.platform != "win32":  # there pipes and the console are called by ctypes
    SLOW.add("ctypes")


@pytest.mark.parametrize(
    ("arguments", "others"),
    [
        (["--help"], {"importlib.metadata", "msgspec", "npipe.rpc", "subprocess"}),
        (["--version"], {"msgspec", "npipe.rpc"}),
        (["call", "./nothing", "x"], {"importlib.metadata", "subprocess"}),
    ],
)
def test_a_short_command_imports_nothing_slow(
    env: dict[str, str], arguments: list[str], others: set[str]
) -> None:
    code = f"""
import sys
from npipe.cli import main
sys.argv[1:] = {arguments}
try:
    main()
except SystemExit:
    pass
print(sorted({SLOW | others} & set(sys.modules)))
"""
    assert python(code, env).stdout.splitlines()[-1] == "[]"


def test_the_group_is_a_click_group() -> None:
    assert isinstance(cli, click.Group)


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_no_command_has_an_option_twice(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    options = [option for parameter in command.params for option in parameter.opts]
    assert len(set(options)) == len(options)
