"""npipe.transport.posix.runtime_dir: the directory of bare names."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterator

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.address import runtime_directory

LINUX = sys.platform == "linux"


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def make_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()


class TestRuntimeDirectory:
    """Bare names stand in a directory of the user's own, or nowhere."""

    @pytest.fixture(autouse=True)
    def home(self, directory: str, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        return runtime_directory()

    def test_it_is_made_at_the_first_listen_and_shut_to_others(self, home: str) -> None:
        with pytest.raises(FileNotFoundError):
            npipe.connect("name")
        assert not npipe.exists("name")
        assert npipe.list_pipes() == []
        assert not os.path.exists(home)
        with npipe.listen("name") as listener, npipe.connect("name"), listener.accept(10):
            assert mode_of(home) == 0o700
            assert npipe.exists("name")

    def test_list_pipes_lists_what_is_served(self, home: str) -> None:
        with npipe.listen("b"), npipe.listen("a"):
            make_stale(home + "/stale")
            with open(home + "/file", "w"):
                pass
            assert npipe.list_pipes() == ["a", "b"]

    def test_list_pipes_bears_a_server_that_closes_meanwhile(
        self, home: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scan = os.scandir

        @contextlib.contextmanager
        def scan_and_close(where: str) -> Iterator[list[os.DirEntry[str]]]:
            with scan(where) as found:
                entries = sorted(found, key=lambda each: each.name)
            gone.close()
            yield entries

        with npipe.listen("a"), npipe.listen("gone") as gone, npipe.listen("z"):
            monkeypatch.setattr(os, "scandir", scan_and_close)
            assert npipe.list_pipes() == ["a", "z"]

    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            (lambda home: os.mkdir(home) or os.chmod(home, 0o755), "mode is 0o755"),
            (lambda home: os.symlink("/tmp", home), "not a directory"),
            (lambda home: open(home, "w").close(), "not a directory"),
        ],
    )
    def test_an_unsafe_one_is_refused(self, home: str, spoil, why: str) -> None:  # type: ignore[no-untyped-def]
        spoil(home)
        for use in (npipe.listen, npipe.connect, npipe.exists):
            with pytest.raises(PermissionError, match=why):
                use("name")
        with pytest.raises(PermissionError, match=why):
            npipe.list_pipes()

    @pytest.mark.skipif(not LINUX or os.geteuid() != 0, reason="needs root to give it away")
    def test_another_users_is_refused(self, home: str) -> None:
        os.mkdir(home, 0o700)
        os.chown(home, 65534, 65534)
        with pytest.raises(PermissionError, match="belongs to uid 65534"):
            npipe.listen("name")
