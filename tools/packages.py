"""Build the source distribution and the pure wheel, twice, and require the same bytes.

    python tools/packages.py [DIRECTORY]    build into DIRECTORY (dist)

The packages depend on nothing but the checkout: hatchling takes the time of each member from
SOURCE_DATE_EPOCH, here that of the last commit. The script prints the SHA-256 of each file.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_EPOCH = "1767225600"  # 2026-01-01, where the sources are in no repository


def epoch() -> str:
    """Return the time of the last commit, in seconds since 1970."""
    command = ["git", "log", "-1", "--format=%ct"]
    try:
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return DEFAULT_EPOCH
    return found.stdout.strip() or DEFAULT_EPOCH


def build(directory: Path) -> dict[str, str]:
    """Build both packages into ``directory``.

    Returns:
        The SHA-256 of each file, by its name.
    """
    environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch()}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel"]
    subprocess.run(
        [*command, "-d", str(directory)],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    files = [path for path in sorted(directory.iterdir()) if path.suffix in (".whl", ".gz")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main(arguments: list[str]) -> int:
    """Build twice, compare, print; return the exit status."""
    directory = Path(arguments[0] if arguments else ROOT / "dist").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    built = build(directory)
    with tempfile.TemporaryDirectory() as again:
        second = build(Path(again))
    for name, digest in second.items():
        if built.get(name) != digest:
            print(f"{name} differs from one build to the next", file=sys.stderr)
            return 1
        print(f"{digest}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
