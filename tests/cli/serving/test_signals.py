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

# The tests may run under nohup, so SIGHUP is set back first. pause() would miss a signal that comes
# just before it.
CODE = """
import signal, sys, time
{}
from npipe.cli.serving.signals import Stop
stop = Stop()
print("ready", flush=True)

def save():
    if "save" in sys.argv:
        sys.stdin.readline()
        print("not interrupted", flush=True)

stop.wait(save)
try:
    print("asked", flush=True)
    while True:
        time.sleep(0.01)
except KeyboardInterrupt:
    print("interrupted", flush=True)
stop.finish()
if "finish" in sys.argv:
    signal.raise_signal(signal.SIGTERM)
    print("not interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_interrupts(number: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    command = [sys.executable, "-c", CODE.format("signal.signal(signal.SIGHUP, signal.SIG_DFL)")]
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


def test_no_signal_interrupts_the_save() -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    code = CODE.format("")
    command = [sys.executable, "-c", code, "save"]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "not interrupted\n"
            assert process.stdout.readline() == "asked\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
        finally:
            process.kill()


def test_no_signal_interrupts_the_exit() -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    command = [sys.executable, "-c", CODE.format(""), "finish"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in ("ready", "asked"):
                assert process.stdout.readline() == f"{line}\n"
                process.send_signal(signal.SIGTERM)
            assert process.stdout.read() == "interrupted\nnot interrupted\n"
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


def test_under_nohup_a_hang_up_stays_ignored() -> None:
    code = CODE.format("signal.signal(signal.SIGHUP, signal.SIG_IGN)")
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
