"""The tools run on POSIX systems; on Windows there is only the check of Windows itself to test."""

import sys
from pathlib import Path

if sys.platform == "win32":
    collect_ignore = [
        path.name
        for path in Path(__file__).parent.glob("test_*.py")
        if "_windows_" not in path.name
    ]
