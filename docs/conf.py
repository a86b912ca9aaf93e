"""Settings of the documentation: Sphinx, MyST for Markdown, furo for the theme."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import npipe  # noqa: E402

project = "npipe"
author = "the npipe developers"
release = version = npipe.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = f"npipe {release}"
html_static_path = ["_static"]
html_css_files = ["npipe.css"]
html_copy_source = False
smartquotes = False  # they would change the quotes and dashes of commands
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {
    "members": True,
    # Members of npipe's own base classes, and not those of the classes named here.
    "inherited-members": "object, BaseException, OSError, RawIOBase, BufferedIOBase, Protocol, "
    "Struct",
}
napoleon_numpy_docstring = False
napoleon_google_docstring = True
napoleon_use_rtype = False
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
# The README and the changelog link to files of the repository, which are no pages here.
# A name that two packages export (npipe.errors.ClosedError, npipe.ClosedError) has two targets.
suppress_warnings = ["myst.xref_missing", "ref.python"]


def as_literal_blocks(_app: Any, _context: Any, lines: list[str]) -> None:
    """Show the examples of a command as literal blocks, and keep the backslashes of its text."""
    converted: list[str] = []
    literal = False
    for line in lines:
        if line.startswith("|   "):  # click does not rewrap these: commands, under a heading
            converted += [] if literal else ["", "::", ""]
            literal = True
            converted.append(f"    {line[4:]}")
        else:
            converted += [""] if literal else []
            literal = False
            converted.append(line.removeprefix("| ").replace("\\", "\\\\"))
    lines[:] = converted


def setup(app: Any) -> None:
    """Register the function above with sphinx-click."""
    app.connect("sphinx-click-process-description", as_literal_blocks)
