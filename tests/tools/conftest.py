"""The tools run on POSIX systems; on Windows there is nothing of them to test."""

import sys

collect_ignore_glob = ["test_*.py"] if sys.platform == "win32" else []
