"""The entry point: a missing extra is reported in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

import npipe
from npipe.cli import main


def python(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("missing", ["click", "msgspec"])
def test_a_missing_extra_is_one_line(env: dict[str, str], missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from npipe.cli import main; main()"
    done = python(code, env)
    assert done.returncode == 1
    assert done.stderr == (f'npipe: the command line needs {missing}: pip install "npipe[cli]"\n')


@pytest.mark.parametrize("missing", ["click", "msgspec"])
def test_the_versions_need_no_extra(env: dict[str, str], missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['npipe', '--version']"
    done = python(f"{code}; from npipe.cli import main; main()", env)
    assert done.returncode == 0
    assert done.stdout.startswith(f"npipe {npipe.__version__} (")


def test_no_argument_is_looked_for_among_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows, where click does that unless told not to, it would connect to the pipe."""
    seen: list[dict[str, object]] = []
    monkeypatch.setattr("npipe.cli.app.cli", lambda **options: seen.append(options))
    monkeypatch.setattr("npipe.cli.output.prepare", lambda: None)  # the streams are pytest's here
    main()
    assert seen[0]["windows_expand_args"] is False
