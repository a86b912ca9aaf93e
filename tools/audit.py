"""Check the run-time dependencies of every extra: their licences, and known vulnerabilities.

    python tools/audit.py [--strict]

Licences must be permissive or, as a library, weak copyleft; a package whose metadata says it badly
is named below, with what its licence file says. pip-audit asks the vulnerability service about each
version of constraints/newest.txt; where the service cannot be reached that is said, and is a
failure with ``--strict`` alone. Needs uv, which runs both tools in environments of their own. The
extra "smb-kerberos" is left out: what it adds (krb5 and gssapi, under MIT and ISC) is compiled.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import extras

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints" / "newest.txt"

PERMISSIVE = re.compile(
    r"(0BSD|3-Clause BSD|Apache|Apache[ -](Software )?(License )?2\.0|Apache Software|BSD"
    r"|BSD-[23]-Clause|CC0-1\.0|CNRI-Python|DFSG approved|ISC|MIT|MIT-0|MIT-CMU|PSF-2\.0"
    r"|Public Domain|Python Software Foundation|Unlicense|ZPL-2\.1|Zlib)( License)?"
)
WEAK_COPYLEFT = re.compile(r"MPL[- ]2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)|LGPL-[23].*")

EXCEPTIONS: dict[str, str] = {}
"""Packages whose metadata does not name their licence, with what it is."""


def is_allowed(licence: str) -> bool:
    """Tell whether a licence, or each of several, may be that of a dependency.

    ``licence`` is an SPDX expression, or names joined by ";" as the classifiers give them.
    """
    parts = re.split(r"; | AND |, ", licence)
    return all(
        any(
            PERMISSIVE.fullmatch(choice) or WEAK_COPYLEFT.fullmatch(choice)
            for choice in part.split(" OR ")
        )
        for part in parts
    )


def refused(licences: Mapping[str, str]) -> list[str]:
    """Return a line for each package (name: licence) that may not be a dependency."""
    lines = [
        f"{name}: {licence}"
        for name, licence in sorted(licences.items())
        if not is_allowed(EXCEPTIONS.get(name, licence))
    ]
    lines += [f"{name}: is excepted, and is no dependency" for name in EXCEPTIONS.keys() - licences]
    return lines


def installed_licences() -> dict[str, str]:
    """Install every extra into an empty environment; return the licence of each package there."""
    names = [name for name in extras.extras() if name not in (extras.NO_EXTRA, extras.COMPILED)]
    with tempfile.TemporaryDirectory() as directory:
        extras.uv("venv", "--python", sys.executable, directory)
        python = f"{directory}/{extras.BIN}/python"
        install = ["pip", "install", "--python", python, "--constraint", str(CONSTRAINTS)]
        extras.uv(*install, f"{ROOT}[{','.join(names)}]")
        command = ["tool", "run", "--quiet", "pip-licenses", f"--python={python}", "--from=mixed"]
        done = subprocess.run(
            [sys.executable, "-m", "uv", *command, "--format=json"],
            capture_output=True,
            text=True,
            check=True,
        )
    return {each["Name"]: each["License"] for each in json.loads(done.stdout)}


def vulnerabilities() -> tuple[str, int, bool]:
    """Ask about each pinned version.

    Returns:
        What pip-audit printed, its exit status, and whether the service answered at all.
    """
    command = ["tool", "run", "--quiet", "pip-audit", "--requirement", str(CONSTRAINTS)]
    done = subprocess.run(
        [sys.executable, "-m", "uv", *command, "--no-deps", "--disable-pip", "--format=json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    answered = '"vulns":' in done.stdout
    return done.stdout, done.returncode, answered


def main(arguments: Sequence[str]) -> int:
    """Print both lists; return the exit status."""
    licences = installed_licences()
    for name, licence in sorted(licences.items(), key=lambda item: item[0].lower()):
        print(f"{name:30} {EXCEPTIONS.get(name, licence)}")
    bad = refused(licences)
    print(f"licences of {len(licences)} packages; refused: {', '.join(bad) or 'none'}")
    printed, status, answered = vulnerabilities()
    if not answered:
        print("known vulnerabilities: not looked up, the service cannot be reached from here")
        status = int("--strict" in arguments)
    else:
        print(f"known vulnerabilities: {printed if status else 'none'}")
    return 1 if bad or status else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
