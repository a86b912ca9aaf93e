"""Build hook of hatchling: compiles the busiest modules with mypyc if ``NPIPE_COMPILE`` is 1.

Without the variable the wheel is pure Python. The compiled one is for one version of CPython on one
system, and contains the sources, too. ``COMPILED`` is the list of what is compiled: what profiles
of a server and a client show at each call, and nothing that programs or tests derive classes from.

A plugin exists (hatch-mypyc), but had its last release in 2023 and starts a build of its own; this
hook is as long as the plugin's configuration would be.
"""

from __future__ import annotations

import os
import shutil
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
    *(
        f"rpc/threads/loop/{name}"
        for name in ("driver", "executor", "leader", "spin_wait", "timeouts")
    ),
)


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
        compiled = build(Path(self.root), Path(self._made))
        build_data["pure_python"] = False
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
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    before = Path.cwd()
    os.chdir(root)  # mypy finds its configuration there
    try:
        extensions = mypycify(
            [
                "--follow-imports=silent",  # what is not compiled may import what is not here
                f"--cache-dir={made / 'cache'}",
                *(f"src/npipe/{name}.py" for name in COMPILED),
            ],
            opt_level="3",
            debug_level="0",
            group_name="npipe",
            target_dir=str(made / "c"),
        )
        command = build_ext(Distribution({"name": "npipe", "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(made / "lib"), str(made / "temp")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
    return {
        path.relative_to(made / "lib").as_posix(): path
        for path in sorted((made / "lib").rglob("*"))
        if path.is_file()
    }
