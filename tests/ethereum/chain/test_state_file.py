"""The chain in a file: the same afterwards, whole or not at all, and never believed blindly."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import COUNTER, init
from ethereum.direct import Direct
from npipe.ethereum.chain.state_file import SavedChain, StateFile
from npipe.rpc.service.api import API

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chain.state"


def run(file: Path, **options: Any) -> tuple[Direct, ethereum.Service]:
    api = API()
    service = ethereum.register(api, state_file=file, **options)
    return Direct(api), service


def loaded(file: Path) -> SavedChain:
    with closing(StateFile(file)) as opened:
        saved = opened.load()
    assert saved is not None
    return saved


def save(file: Path, saved: SavedChain) -> None:
    with closing(StateFile(file)) as opened:
        opened.save(saved)


def test_a_chain_goes_on_where_it_was(file: Path) -> None:
    direct, service = run(file)
    with service:
        alice, bob = direct.call("eth_accounts")[:2]
        made = direct.call(
            "eth_sendTransaction", {"from": alice, "data": "0x" + init(COUNTER).hex()}
        )
        counter = direct.call("eth_getTransactionReceipt", made)["contractAddress"]
        direct.call("eth_sendTransaction", {"from": bob, "to": counter})
        moved = direct.call("evm_increaseTime", 1000)
        direct.call("evm_setAutomine", False)
        waiting = direct.call("eth_sendTransaction", {"from": bob, "to": alice, "value": "0x1"})
        before = [direct.call("eth_getBlockByNumber", hex(number), True) for number in range(3)] + [
            direct.call("eth_getBlockReceipts", "latest")
        ]
    direct, service = run(file)
    with service:
        after = [direct.call("eth_getBlockByNumber", hex(number), True) for number in range(3)] + [
            direct.call("eth_getBlockReceipts", "latest")
        ]
        assert after == before
        assert int(direct.call("eth_call", {"to": counter}), 16) == 2
        assert direct.call("eth_getTransactionByHash", waiting)["blockHash"] is None
        direct.call("evm_mine")
        assert direct.call("eth_getTransactionReceipt", waiting)["status"] == "0x1"
        assert direct.call("evm_increaseTime", 0) == moved


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_only_the_owner_can_read_it(file: Path) -> None:
    run(file)[1].close()
    assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_but_the_file_is_left(file: Path) -> None:
    run(file)[1].close()
    run(file)[1].close()
    assert os.listdir(file.parent) == [file.name]


def test_a_failed_save_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(file)[1].close()
    before = file.read_bytes()
    direct, service = run(file)
    direct.call("evm_mine")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not be saved, and .* is unchanged: No space left"):
        service.close()
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    run(file)[1].close()  # and it is free again


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot flush a directory")
def test_a_directory_that_cannot_be_flushed_is_told_beside_the_saved_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct, service = run(file)
    direct.call("evm_mine")
    flush = os.fsync

    def broken(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match=r"was saved as .*, but a power failure .*: Input/output"):
        service.close()
    monkeypatch.undo()
    assert len(loaded(file).blocks) == 2


def test_what_the_disk_has_no_room_for_is_saved_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    file = tmp_path / "full" / "chain.state"
    file.parent.mkdir()
    run(file)[1].close()
    direct, service = run(file)
    direct.call("evm_mine")
    make = tempfile.mkstemp

    def full(**how: Any) -> tuple[int, str]:
        if Path(how["dir"]) == file.parent:
            raise OSError(28, "No space left on device")
        return make(**how)

    monkeypatch.setattr(tempfile, "mkstemp", full)
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    with pytest.raises(OSError, match=r"It was saved as .*chain.state.* instead"):
        service.close()
    monkeypatch.undo()
    (saved,) = other.iterdir()
    assert len(loaded(saved).blocks) == 2
    assert len(loaded(file).blocks) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_links_stay_and_their_target_is_replaced(tmp_path: Path) -> None:
    target, middle, link = (tmp_path / name / "chain" for name in ("target", "middle", "link"))
    for each in (target, middle, link):
        each.parent.mkdir()
    middle.symlink_to(Path("..") / "target" / "chain")  # and that is not there yet
    link.symlink_to(middle)
    run(link)[1].close()
    first = target.stat().st_ino
    direct, service = run(link)
    direct.call("evm_mine")
    service.close()
    assert link.is_symlink() and middle.is_symlink()
    assert not target.is_symlink() and target.stat().st_ino != first
    assert len(loaded(link).blocks) == 2
    assert [os.listdir(each.parent) for each in (target, middle, link)] == [["chain"]] * 3


def test_a_second_server_is_refused_until_the_first_has_ended(file: Path) -> None:
    direct, service = run(file)
    direct.call("evm_mine")
    with pytest.raises(
        BlockingIOError, match=f"another server uses .*{file.name}: stop that server"
    ):
        run(file)
    code = "import sys; from npipe.ethereum.chain.state_file import StateFile as S; S(sys.argv[1])"
    command = [sys.executable, "-c", code, str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "another server uses" in done.stderr
    service.close()
    assert run_and_close(file) == "0x1"


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_two_names_of_one_file_are_one_claim(file: Path) -> None:
    other = file.with_name("other")
    other.symlink_to(file)
    _, service = run(file)
    with service, pytest.raises(BlockingIOError, match="another server uses"):
        run(other)


def test_a_lock_that_a_killed_server_left_is_no_obstacle(file: Path) -> None:
    file.with_name(f".{file.name}.lock").write_bytes(b"")
    assert run_and_close(file) == "0x0"
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_lock_that_its_owner_removes_meanwhile_is_no_claim(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a third server would make a file of that name, and lock that one."""
    lock, real, opened = file.with_name(f".{file.name}.lock"), os.open, list[int]()

    def open_late(path: object, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)  # type: ignore[call-overload]
        if path == lock and not opened:
            os.unlink(lock)  # as the owner does at its end, before it lets go
        opened.append(descriptor)
        return int(descriptor)

    monkeypatch.setattr(os, "open", open_late)
    with closing(StateFile(file)) as first:
        monkeypatch.undo()
        assert first.path == file.resolve()
        assert lock.exists()
        with pytest.raises(BlockingIOError):
            StateFile(file)


def run_and_close(file: Path) -> str:
    direct, service = run(file)
    with service:
        return str(direct.call("eth_blockNumber"))


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
@pytest.mark.parametrize("what", ["file", "directory", "directory above"])
def test_what_cannot_be_written_is_refused_at_the_start(what: str) -> None:
    """By another user's process where this one is root's, which may write everywhere."""
    code = (
        "import os, sys, tempfile; from npipe.ethereum.chain.state_file import StateFile;"
        "os.geteuid() or os.setuid(65534); StateFile(sys.argv[1])"
    )
    with tempfile.TemporaryDirectory() as name:  # one that other users may enter
        file = Path(name) / "inner" / "chain.state"
        file.parent.mkdir()
        run(file)[1].close()
        before = file.read_bytes()
        if os.geteuid() == 0:
            for each in (file.parent.parent, file.parent, file):
                os.chown(each, 65534, -1)
        path = {"file": file, "directory": file.parent}.get(what, file.parent.parent)
        path.chmod(0o400 if path == file else 0o500 if path == file.parent else 0)
        done = subprocess.run(
            [sys.executable, "-c", code, str(file)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        path.chmod(0o700)
        assert f"the state cannot be kept in {file}: Permission denied" in done.stderr
        assert file.read_bytes() == before
        assert os.listdir(file.parent) == [file.name]


@pytest.mark.skipif(sys.platform == "win32", reason="devices are POSIX's")
def test_a_device_is_no_file(file: Path) -> None:
    with pytest.raises(OSError, match="cannot be kept in /dev/full: not a regular file"):
        StateFile("/dev/full")
    with pytest.raises(OSError, match="not a regular file"):
        StateFile(file.parent)
    file.symlink_to(file)
    with pytest.raises(OSError, match="cannot be kept in"):
        StateFile(file)


def test_a_cut_or_changed_file_is_refused_and_kept(file: Path) -> None:
    run(file)[1].close()
    whole = file.read_bytes()
    for at in (14, 60, len(whole) // 2, len(whole) - 1):
        for octets in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
            file.write_bytes(octets)
            with pytest.raises(ValueError, match="is damaged: it was cut off or changed"):
                run(file)
            assert file.read_bytes() == octets
    file.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="is damaged"):
        run(file)
    file.write_bytes(whole.replace(b"chain 2", b"chain 9"))
    with pytest.raises(ValueError, match="not a saved chain that this version can read"):
        run(file)
    file.write_bytes(whole)
    assert run_and_close(file) == "0x0"


@pytest.mark.parametrize("octets", [b"", b"\x00", b"not a chain", b"{}", b"\x80", b"npipe chain"])
def test_another_file_is_no_chain(file: Path, octets: bytes) -> None:
    file.write_bytes(octets)
    with pytest.raises(ValueError, match="is not a saved chain"):
        run(file)
    assert file.read_bytes() == octets


def test_a_damaged_chain_is_refused(file: Path) -> None:
    direct, service = run(file)
    with service:
        direct.call("evm_mine")
        direct.call("evm_mine")
    saved = loaded(file)
    del saved.blocks[1]
    save(file, saved)
    with pytest.raises(ValueError, match="damaged: block 1 does not follow"):
        run(file)
    saved.nodes.clear()
    save(file, saved)
    with pytest.raises(ValueError, match="damaged: the state of block 0 is missing"):
        run(file)


def test_another_chain_id_is_refused(file: Path) -> None:
    run(file)[1].close()
    with pytest.raises(ValueError, match="the saved chain has the id 1337, not 5"):
        run(file, chain_id=5)


def test_a_directory_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        run(tmp_path / "nowhere" / "chain.state")


def test_no_key_is_in_it(file: Path) -> None:
    _, service = run(file)
    service.close()
    octets = file.read_bytes()
    for account in service.accounts:
        key = bytes.fromhex(account.key_hex[2:])
        assert key not in octets and key.hex().encode() not in octets
