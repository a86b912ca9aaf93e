"""Build hook of hatchling: compiles the busiest modules with mypyc if ``NPIPE_COMPILE`` is 1.

Without the variable the wheel is pure Python. The compiled one is for one version of CPython on one
system, and contains the sources, too. With ``NPIPE_COMPILE_WINDOWS``, the folder of a CPython for
64-bit Windows, it is for that one, made by mingw-w64. ``COMPILED`` is the list of what is compiled:
what profiles of a server and a client show at each call, and nothing that programs or tests derive
classes from.

A plugin exists (hatch-mypyc), but had its last release in 2023 and starts a build of its own; this
hook is as long as the plugin's configuration would be.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (
    *(
        f"rpc/wire/{name}"
        for name in (
            "content_length",
            "framing",
            "json_stream",
            "json_text",
            "length_prefix",
            "messages",
            "msgpack_stream",
            "scanner",
        )
    ),
    *(
        f"rpc/session/{name}"
        for name in (
            "atomic",
            "flow_control",
            "outgoing_calls",
            "pending_calls",
            "processor",
            "receive_queue",
            "send_queue",
            "served_calls",
            "session",
            "statistics",
            "subscribers",
            "timing",
        )
    ),
    *(f"rpc/aio/{name}" for name in ("driver", "executor", "forwarding_driver", "timeouts")),
    *(
        f"rpc/threads/loop/{name}"
        for name in ("driver", "executor", "leader", "spin_wait", "timeouts")
    ),
)

WINDOWS = os.environ.get("NPIPE_COMPILE_WINDOWS", "")
MINGW = "x86_64-w64-mingw32-"
#: What Python.h asks of 64-bit Windows and this compiler.
PYCONFIG = """\
#define MS_WINDOWS
#define MS_WIN32
#define MS_WIN64
#define WITH_THREAD
#define NT_THREADS
#define HAVE_DECLSPEC_DLL
#define Py_ENABLE_SHARED 1
#define HAVE_STD_ATOMIC 1
#define HAVE_SSIZE_T 1
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_WCHAR_T 2
#define SIZEOF_OFF_T 4
#define SIZEOF_PID_T 4
#define ALIGNOF_LONG 4
#define ALIGNOF_SIZE_T 8
#define ALIGNOF_MAX_ALIGN_T 16
"""


def is_wanted() -> bool:
    """Tell whether the environment asks for the compiled build."""
    return os.environ.get("NPIPE_COMPILE", "") not in ("", "0")


class CompileHook(BuildHookInterface[Any]):
    """Adds the compiled modules to the wheel."""

    PLUGIN_NAME = "custom"
    _made: str | None = None

    def dependencies(self) -> list[str]:
        """Return what the build needs beyond hatchling."""
        return ["mypy>=2.4,<3", "setuptools>=77", "msgspec>=0.20"] if is_wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add the results to the wheel.

        Args:
            version: "standard" or "editable"; the latter is never compiled.
            build_data: Describes the wheel.
        """
        if not is_wanted() or version == "editable":
            return
        self._made = tempfile.mkdtemp(prefix="npipe-compile-")
        try:
            compiled = build(Path(self.root), Path(self._made))
        except BaseException:
            shutil.rmtree(self._made, ignore_errors=True)
            raise
        build_data["pure_python"] = False
        if WINDOWS:
            python = f"cp{sys.version_info.major}{sys.version_info.minor}"
            build_data["tag"] = f"{python}-{python}-win_amd64"
        else:
            build_data["infer_tag"] = True
        build_data["force_include"].update({str(path): name for name, path in compiled.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the results, which are in the wheel now."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)


def build(root: Path, made: Path) -> dict[str, Path]:
    """Compile the modules.

    Args:
        root: The checkout.
        made: An empty directory.

    Returns:
        The extension modules, by their path in the wheel.
    """
    from mypyc.build import mypycify

    before = Path.cwd()
    os.chdir(root)  # mypy finds its configuration there
    try:
        extensions = mypycify(
            [
                "--follow-imports=silent",  # what is not compiled may import what is not here
                f"--cache-dir={made / 'cache'}",
                *(["--platform=win32"] if WINDOWS else []),
                *(f"src/npipe/{name}.py" for name in COMPILED),
            ],
            opt_level="3",
            debug_level="0",
            group_name="npipe",
            target_dir=str(made / "c"),
        )
        (compile_with_mingw if WINDOWS else compile_here)(extensions, made)
    finally:
        os.chdir(before)
    return {
        path.relative_to(made / "lib").as_posix(): path
        for path in sorted((made / "lib").rglob("*"))
        if path.is_file()
    }


def compile_here(extensions: list[Any], made: Path) -> None:
    """Compile for this system and interpreter, into ``made / "lib"``."""
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    command = build_ext(Distribution({"name": "npipe", "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(made / "lib"), str(made / "temp")
    command.ensure_finalized()
    command.run()


def compile_with_mingw(extensions: list[Any], made: Path) -> None:
    """Compile for 64-bit Windows by a cross compiler, into ``made / "lib"``.

    The headers are those of this interpreter: for one minor version they differ between systems in
    ``pyconfig.h`` alone. The import library is made from what the DLL exports.
    """
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    dll = Path(WINDOWS, f"python{version}.dll")
    headers = made / "include"
    # Copied, for Python.h takes the pyconfig.h beside it.
    shutil.copytree(sysconfig.get_path("include"), headers)
    (headers / "pyconfig.h").write_text(PYCONFIG)
    listing = subprocess.check_output([f"{MINGW}objdump", "-p", str(dll)], text=True)
    # Newer binutils print the ordinal and a hint before the name.
    name = r"^\s*\[ *\d+\](?: \+base\[ *\d+\] +[\da-f]+)? (\w+)$"
    names = re.findall(name, listing, re.MULTILINE)
    exports, library = made / "python.def", made / "libpython.a"
    exports.write_text("\n".join([f"LIBRARY {dll.name}", "EXPORTS", *names]) + "\n")
    subprocess.check_call([f"{MINGW}dlltool", "-d", str(exports), "-l", str(library)])
    for extension in extensions:
        result = made / "lib" / (extension.name.replace(".", "/") + f".cp{version}-win_amd64.pyd")
        result.parent.mkdir(parents=True, exist_ok=True)
        include = [f"-I{path}" for path in (headers, *extension.include_dirs)]
        options = ["-O3", "-w", "-s", "-shared", "-static-libgcc", *include]
        what = [*extension.sources, str(library)]
        subprocess.check_call([f"{MINGW}gcc", *options, "-o", str(result), *what])
