"""The programs that the steps of tools/windows_check.py start, tried on this system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import npipe
from windows_steps import accounts, processes, programs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the steps themselves run there")

SOURCE = str(Path(npipe.__file__).parents[1])


@pytest.mark.parametrize("operation", ["read", "write", "accept", "connect"])
def test_the_program_notices_each_interrupt(operation: str, tmp_path: Path) -> None:
    name = os.path.relpath(tmp_path / "s", Path.cwd())
    env = {**os.environ, "PYTHONPATH": SOURCE}
    command = [sys.executable, "-c", programs.INTERRUPTED, name, operation]
    pipe = subprocess.PIPE
    with (
        npipe.listen(name) as listener,
        subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as child,
    ):
        assert child.stdin is not None and child.stdout is not None
        try:
            with listener.accept(30):
                for _ in range(3):
                    assert child.stdout.readline() == "ready\n"
                    child.send_signal(signal.SIGINT)
                    assert child.stdout.readline() == "interrupted\n"
                    child.stdin.write("again\n")
                    child.stdin.flush()
        finally:
            child.kill()


def test_another_accounts_programs_say_what_they_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:

        def start(command: list[str]) -> None:
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)

        monkeypatch.chdir(tmp_path)
        here = stack.enter_context(npipe.listen("./here"))
        found = processes.Program(tmp_path, start, accounts.CONNECT, str(here.address), "./absent")
        assert found.lines(3) == ["connected", "FileNotFoundError None", "OSError"]
        served = processes.Program(tmp_path, start, accounts.SERVE, "./there", "1")
        served.lines(1)
        with npipe.connect("./there") as connection:
            connection.write(b"hello")
            assert served.lines(2) == ["ready", f"read b'hello' from {connection.peer.sid}"]
