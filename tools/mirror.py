"""Check that the tests mirror the source: one test file per module, and no test file without one.

``src/npipe/a/b.py`` is tested by ``tests/a/test_b.py``, and a package by ``tests/a/test_init.py``
where its ``__init__.py`` defines something. ``conformance``, ``peers`` and ``fuzz`` hold tests that
run across modules, and ``real`` those of a whole backend on a real kernel. ``make lint``
calls this; it prints what is missing and exits with 1.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE, TESTS = ROOT / "src" / "npipe", ROOT / "tests"
ACROSS_MODULES = {"conformance", "peers", "fuzz", "real", "tools"}

# Test files about the project as a whole: its documents, its examples, its list of bugs.
WITHOUT_A_MODULE = {
    *("test_documents.py", "test_consoles.py", "test_examples.py", "test_guide.py"),
    "test_bugs_of_the_seed.py",
}

WITHOUT_A_TEST_FILE: dict[str, str] = {}
"""The modules that have no test file of their own, each with the reason."""


def expected(module: Path) -> Path:
    """Return the test file of a module; both are relative to their root."""
    name = "init" if module.name == "__init__.py" else module.stem.strip("_")
    return module.with_name(f"test_{name}.py")


def defines_something(module: Path) -> bool:
    """Tell whether a module has a function or a class of its own."""
    body = ast.parse(module.read_text(encoding="utf-8")).body
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in body
    )


def findings() -> list[str]:
    """Return a line for each module without a test file, and each test file without a module."""
    modules = {path.relative_to(SOURCE) for path in SOURCE.rglob("*.py")}
    tests = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    lines = []
    for module in sorted(modules):
        excused = module.as_posix() in WITHOUT_A_TEST_FILE
        if expected(module) in tests:
            if excused:
                lines.append(f"src/npipe/{module} has a test file: remove it from the list")
        elif not excused and defines_something(SOURCE / module):
            lines.append(f"src/npipe/{module} has no tests/{expected(module)}")
    lines += [
        f"{name} is on the list, and is no module"
        for name in WITHOUT_A_TEST_FILE
        if Path(name) not in modules
    ]
    wanted = {expected(module) for module in modules}
    for test in sorted(tests - wanted):
        if test.name not in WITHOUT_A_MODULE and not ACROSS_MODULES & set(test.parts):
            lines.append(f"tests/{test} has no module")
    return lines


if __name__ == "__main__":
    found = findings()
    print("\n".join(found) or "the tests mirror the source")
    sys.exit(bool(found))
