"""The functions behind the names."""

from __future__ import annotations

import sys

import pytest

from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.kernel32.functions import SIGNATURES

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


# Wine 8 and 10 have all that are bound here. GetNamedPipeClientComputerName is one that they lack.
EXPORTS = [(library, name) for library, names in SIGNATURES.items() for name in names]


def test_no_binding_of_that_name() -> None:
    with pytest.raises(AttributeError, match="NoSuchCall"):
        _ = Kernel32()._NoSuchCall


@on_windows
@pytest.mark.parametrize(("library", "name"), EXPORTS)
def test_the_function_exists(library: str, name: str) -> None:
    function = getattr(Kernel32(), "_" + name)
    assert function is not None
    assert function.argtypes is not None
