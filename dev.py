"""Set up and run the project's commands, the same on every system. Needs Python 3.11 or newer.

    python dev.py setup    make the virtual environment, which every other command does, too
    python dev.py run      start the JSON-RPC service and drive its clients
    python dev.py test     run every test (CPython for Windows too, where Wine is installed)
    python dev.py pythons  run the tests of transports and asyncio on each other Python found
    python dev.py peers    install what `test` installs first: programs to talk to
    python dev.py lint     run ruff, mypy for three systems, the import contracts and the checks
    python dev.py extras   install each extra alone into an empty environment, run its example
    python dev.py oldest   run the tests with the oldest version of each dependency
    python dev.py lock     write constraints/oldest.txt and constraints/newest.txt anew
    python dev.py audit    check licences and known vulnerabilities of the dependencies
    python dev.py compiled build the package with mypyc and run the tests of JSON-RPC on it
                           (--windows: the wheel for Windows, by mingw-w64, tested under Wine)
    python dev.py packages build the source distribution and the wheel into dist, reproducibly
    python dev.py docs     build the documentation into build/docs; a warning is an error
    python dev.py bench    measure npipe and its peers side by side
    python dev.py clean    remove all that these commands made

On Windows write `py` for `python`. `make run` and so on do the same. Arguments after the command
are handed on: `python dev.py test -k deadline`. Everything is installed inside the checkout.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
COMPILED_VENV = ROOT / ".venv-compiled"
COMPILED_PYTHON = COMPILED_VENV / PYTHON.relative_to(VENV)
COMPILED_TESTS = (
    *(f"tests/rpc/{name}" for name in ("wire", "service", "session", "calling", "forwarding")),
    *("tests/rpc/aio", "tests/rpc/threads", "tests/rpc/conformance", "tests/rpc/real"),
    *("tests/fuzz/test_builds.py", "tests/fuzz/test_fuzz.py", "tests/cli/test_app.py"),
)
WINDOWS_TESTS = ("tests/rpc/wire", "tests/rpc/session", "tests/fuzz/test_builds.py")
PACKAGES = (".[console,ethereum,integrations,smb]",)
GROUPS = ("test", "peers", "integrations", "lint", "docs", "release")
CONSTRAINTS = ROOT / "constraints"
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
MADE = (
    *(".venv", ".venv-compiled", ".wine", ".peers", ".test-results", "build", "dist"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis"),
)


def python(*arguments: object, **environment: str) -> None:
    """Run the environment's Python in the checkout; end with its exit status if it fails."""
    command = [str(PYTHON), *map(str, arguments)]
    status = subprocess.call(command, cwd=ROOT, env={**os.environ, **environment})
    if status:
        sys.exit(status)


def module(name: str, *arguments: object, **environment: str) -> None:
    """Run a module of the environment."""
    python("-m", name, *arguments, **environment)


def pip(*arguments: object) -> None:
    """Install into the environment."""
    module("pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def prepare() -> None:
    """Make the virtual environment, unless it stands as pyproject.toml wants it."""
    wanted = hashlib.sha256()
    newest = CONSTRAINTS / "newest.txt"
    files = ((ROOT / "pyproject.toml").read_bytes(), newest.read_bytes())
    for part in (*files, __file__, sys.version, GROUPS):
        wanted.update(repr(part).encode())
    stamp = VENV / ".stamp"
    if stamp.is_file() and stamp.read_text() == wanted.hexdigest():
        return
    if subprocess.call([sys.executable, "-m", "venv", str(VENV)]):
        sys.exit("this Python makes no virtual environment: install a complete one (python3-venv)")
    pip("--upgrade", "pip>=25.1")  # the one that comes with Python 3.11 knows no dependency groups
    groups = [f"--group={group}" for group in GROUPS]
    pip("--constraint", newest, "--editable", *PACKAGES, *groups)
    stamp.write_text(wanted.hexdigest())


def setup(_arguments: Sequence[str]) -> None:
    """Do nothing more than ``prepare`` does."""


def run(arguments: Sequence[str]) -> None:
    """Show the service and its clients at work."""
    python("tools/demo.py", *arguments)


def test(arguments: Sequence[str]) -> None:
    """Run every test of this system, and under Wine those of Windows."""
    if sys.platform == "win32":
        report = ROOT / ".test-results" / "win32.xml"  # for tools/supported.py
        module("pytest", f"--junitxml={report}", *arguments)
    else:
        python("tools/suite.py", *arguments)


def pythons(arguments: Sequence[str]) -> None:
    """Run the tests that depend on the interpreter on each other version of it."""
    python("tools/suite.py", "--pythons", *arguments)


def peers(_arguments: Sequence[str]) -> None:
    """Install programs to talk to, and CPython for Windows where Wine is installed."""
    python("tools/install_peers.py")
    if sys.platform != "win32" and shutil.which("wine"):
        python("tools/wine.py", "setup")


def lint(_arguments: Sequence[str]) -> None:
    """Check the code's style, types, directions between folders, tests and docstrings."""
    module("ruff", "check", ".")
    module("ruff", "format", "--check", ".")
    for platform in ("linux", "darwin", "win32"):
        module("mypy", "--platform", platform, f"--cache-dir=.mypy_cache/{platform}")
    tools = sorted(path.relative_to(ROOT) for path in (ROOT / "tools").rglob("*.py"))
    module("mypy", *tools, "dev.py", MYPYPATH="tools")
    python("-c", "from importlinter.cli import lint_imports_command as main; main()")
    python("tools/docstrings.py")
    python("tools/mirror.py")
    public_types()
    actionlint()


def public_types() -> None:
    """Require a type for every public name, as a type checker of another project sees them."""
    path = os.pathsep.join([str(PYTHON.parent), os.environ["PATH"]])  # it asks the first Python
    module("pyright", "--verifytypes", "npipe", "--ignoreexternal", PATH=path)


def actionlint() -> None:
    """Check the workflows, where Go is installed to build the checker."""
    if shutil.which("go") is None:
        print("the workflows are not checked: that needs Go")
        return
    workflows = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    status = subprocess.call(["go", "run", ACTIONLINT, *workflows], cwd=ROOT)
    if status:
        sys.exit(status)


def extras(arguments: Sequence[str]) -> None:
    """Install each extra alone and run its example."""
    python("tools/extras.py", *arguments)


def oldest(arguments: Sequence[str]) -> None:
    """Run what rests on a dependency with the oldest version of each."""
    venv = ROOT / ".venv-oldest"
    place = venv / PYTHON.relative_to(VENV)
    module("uv", "venv", "--quiet", "--allow-existing", "--python", sys.executable, venv)
    install = ("pip", "install", "--quiet", "--python", place)
    groups = [f"--group={group}" for group in ("test", "integrations", "peers")]
    what = ("--editable", f"{PACKAGES[0][:-1]},upstream,plot]", *groups)
    module("uv", *install, "--constraint", CONSTRAINTS / "oldest.txt", *what)
    folders = ("cli", "ethereum", "integrations", "recording", "rpc", "transport/smb")
    tests = [f"tests/{folder}" for folder in folders]
    quiet = "ignore:websockets:DeprecationWarning"  # uvicorn 0.31 uses what 14 deprecates
    command = [str(place), "-W", quiet, "-m", "pytest", "-W", quiet, *(arguments or tests)]
    status = subprocess.call(command, cwd=ROOT)
    if status:
        sys.exit(status)


def lock(_arguments: Sequence[str]) -> None:
    """Find the oldest versions that pyproject.toml allows, and the newest that there are."""
    groups = [f"--group={group}" for group in ("test", "integrations", "peers")]
    compile_ = ("pip", "compile", "--quiet", "--universal", "--python-version=3.11", "--upgrade")
    plain = (*compile_, "--no-annotate", "--no-header", "--all-extras", "pyproject.toml")
    module("uv", *plain, "--resolution=lowest-direct", "-o", CONSTRAINTS / "oldest.txt")
    module("uv", *plain, *groups, "-o", CONSTRAINTS / "newest.txt")


def audit(arguments: Sequence[str]) -> None:
    """Check the licences and the known vulnerabilities of what the extras bring."""
    python("tools/audit.py", *arguments)


def compiled(arguments: Sequence[str]) -> None:
    """Build the compiled wheel into an environment of its own, and run the tests that it affects.

    That environment shares the packages of the other one, except for npipe itself.
    """
    pip("--group=compile")
    if "--windows" in arguments:
        compiled_for_windows([word for word in arguments if word != "--windows"])
        return
    dist = ROOT / "build" / "compiled"
    shutil.rmtree(dist, ignore_errors=True)
    module("hatchling", "build", "-t", "wheel", "-d", dist, NPIPE_COMPILE="1")
    subprocess.check_call([str(PYTHON), "-m", "venv", "--without-pip", "--clear", COMPILED_VENV])
    own, shared = (purelib(python) for python in (COMPILED_PYTHON, PYTHON))
    Path(own, "shared.pth").write_text(shared)  # without the .pth files there: npipe's is one
    install = ("install", "--quiet", "--disable-pip-version-check", "--no-deps")
    module("pip", f"--python={COMPILED_PYTHON}", *install, *dist.glob("*.whl"))
    report = ROOT / ".test-results" / "compiled.xml"  # for tools/supported.py
    options = ["-o", "pythonpath=tests tools", "-q", f"--junitxml={report}"]
    options += arguments or COMPILED_TESTS
    command = [str(COMPILED_PYTHON), "-m", "pytest", *options]
    status = subprocess.call(command, cwd=ROOT, env={**os.environ, "NPIPE_TEST_COMPILED": "1"})
    if status:
        sys.exit(status)


def compiled_for_windows(arguments: Sequence[str]) -> None:
    """Build the compiled wheel for Windows on this system and run tests of it under Wine.

    It is for the CPython of this minor version, whose DLL is taken from Wine's folder.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = Path(os.environ.get("NPIPE_WINE_HOME") or ROOT / ".wine")
    dist = ROOT / "build" / "windows"
    shutil.rmtree(dist, ignore_errors=True)
    python("tools/wine.py", "setup", version)
    place = {"NPIPE_COMPILE": "1", "NPIPE_COMPILE_WINDOWS": str(home / f"python{version}")}
    module("hatchling", "build", "-t", "wheel", "-d", dist, **place)
    (wheel,) = dist.glob("*-win_amd64.whl")
    shutil.unpack_archive(wheel, dist / "site", "zip")
    site = "Z:" + str(dist / "site").replace("/", "\\")  # as Wine names it
    # Not "wine.py test", whose report is of the other build.
    plugins = ("-p", "no:cacheprovider", "-p", "no:randomly")
    options = ["-o", "pythonpath=tests tools", "-q", *plugins, *(arguments or WINDOWS_TESTS)]
    command = ("tools/wine.py", "run", version, "-m", "pytest", *options)
    python(*command, PYTHONPATH=site, NPIPE_TEST_COMPILED="1")


def purelib(python: Path) -> str:
    """Return the folder of an environment that packages are installed into."""
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.check_output(command, text=True).strip()


def packages(arguments: Sequence[str]) -> None:
    """Build the packages twice and require the same bytes."""
    python("tools/packages.py", *arguments)


def docs(arguments: Sequence[str]) -> None:
    """Build the documentation."""
    module("sphinx", "-W", "--keep-going", "-q", "docs", "build/docs", *arguments)
    print(f"the documentation is in {ROOT / 'build' / 'docs' / 'index.html'}")


def bench(arguments: Sequence[str]) -> None:
    """Measure npipe and its peers side by side."""
    pip("--group=bench")
    python("tools/install_peers.py")
    module("bench", "--output", "docs/benchmarks.md", *arguments)


def clean(_arguments: Sequence[str]) -> None:
    """Remove all that the other commands made."""
    if sys.platform != "win32" and (ROOT / ".wine").is_dir():
        subprocess.call([sys.executable, str(ROOT / "tools" / "wine.py"), "stop"])
    made = [ROOT / name for name in MADE] + list(ROOT.glob(".venv-*"))
    made += [path for top in ("src", "tests", "tools", "bench") for path in
             (ROOT / top).rglob("__pycache__")]  # fmt: skip
    for path in made:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    command.__name__: command
    for command in (
        *(setup, run, test, pythons, peers, lint, extras, oldest, lock, audit),
        *(compiled, packages, docs, bench, clean),
    )
}


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        The exit status: 2 if the command is unknown or this Python too old.
    """
    if sys.version_info < (3, 11):  # noqa: UP036  # it may be started by any Python
        print(f"npipe needs Python 3.11 or newer, and this is {sys.version.split()[0]}")
        return 2
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    if arguments[0] != "clean":
        prepare()
    COMMANDS[arguments[0]](arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
