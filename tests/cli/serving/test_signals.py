"""Tests of npipe.cli.serving.signals, in a process of their own: signals are for a main thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import npipe

if sys.platform == "win32":
    pytest.skip("signals between processes are POSIX's", allow_module_level=True)

CODE = """
from npipe.cli.serving.signals import Stop
stop = Stop()
print("ready", flush=True)
stop.wait()
try:
    print("asked", flush=True)
    while True:
        __import__("signal").pause()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_interrupts(number: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            assert process.stdout.readline() == "asked\n"
            process.send_signal(number)
            assert process.stdout.readline() == "interrupted\n"
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def test_under_nohup_a_hang_up_stays_ignored() -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + CODE
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "asked\n"
            process.send_signal(signal.SIGHUP)  # would interrupt
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "interrupted\n"
        finally:
            process.kill()
