"""A tap in front of a live socket: no client notices it come or go."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets only", allow_module_level=True)

from npipe import rpc
from npipe.recording import Recorder, Relay
from npipe.recording.tap import Tap
from recording.conftest import open_shop

TAPS = 25  # a hundred were run by hand; each waits 0.2 s at its end


def enter(path: str) -> tuple[Tap, Relay]:
    tap = Tap(path)
    relay = Relay(tap.behind)
    tap.enter(relay)
    return tap, relay


def test_clients_under_load_never_fail(shop: str) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []
    done = [0, 0]

    def knock(at: int) -> None:
        try:
            while not stop.is_set():
                with rpc.connect(shop, timeout=20) as client:
                    client.call("shop_order", "tea")
                done[at] += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=knock, args=(at,)) for at in range(2)]
    with rpc.connect(shop, timeout=20) as old:
        for thread in threads:
            thread.start()
        passed = 0
        for _ in range(TAPS):
            events: list[object] = []
            recorder = Recorder(events.extend)
            tap = Tap(shop)
            relay = Relay(tap.behind, recorder=recorder)
            tap.enter(relay)
            assert tap.leave()
            assert relay.wait(20)
            recorder.close()
            passed += bool(events)
        stop.set()
        for thread in threads:
            thread.join()
        old.call("shop_order", "tea")
    assert failures == []
    assert passed  # the tap did see some of them
    assert min(done) > TAPS
    assert os.listdir(os.path.dirname(shop)) == ["s"] or not os.path.exists(f"{shop}.behind")


def test_a_connection_through_the_tap_outlives_it(shop: str) -> None:
    tap, relay = enter(shop)
    with rpc.connect(shop, timeout=20) as client:
        client.call("shop_order", "tea")
        tap.leave()
        client.call("shop_order", "tea")
        assert relay.connections == 1
    assert relay.wait(20)


def test_the_tap_lets_in_whom_the_server_did(directory: Path) -> None:
    path = str(directory / "s")
    with open_shop(str(directory / "other")), rpc.Server(rpc.API()) as server:
        server.serve(path, access=0o660)
        tap, _ = enter(path)
        assert stat.S_IMODE(os.lstat(path).st_mode) == 0o660
        tap.leave()


def test_a_second_tap_is_refused_and_harms_nobody(shop: str) -> None:
    tap, _ = enter(shop)
    with pytest.raises(OSError, match="tapped already"):
        enter(shop)
    with rpc.connect(shop, timeout=20) as client:
        client.call("shop_order", "tea")
    assert tap.leave()


def test_what_a_killed_tap_left_is_put_back(shop: str) -> None:
    os.rename(shop, f"{shop}.behind")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(shop)
    tap, _ = enter(shop)
    with rpc.connect(shop, timeout=20) as client:
        client.call("shop_order", "tea")
    assert tap.leave()
    assert not os.path.lexists(f"{shop}.behind")
    with rpc.connect(shop, timeout=20) as client:
        client.call("shop_order", "tea")


def test_a_server_that_was_started_again_keeps_its_socket(directory: Path) -> None:
    path = str(directory / "s")
    first = open_shop(path)
    tap, _ = enter(path)
    first.stop()
    os.unlink(path)  # as geth does at its start
    with open_shop(path, price=9):
        assert not tap.leave()
        with rpc.connect(path, timeout=20) as client:
            assert client.call("shop_order", "tea")["price"] == 9
    assert not os.path.lexists(f"{path}.behind")


@pytest.mark.parametrize("address", ["@abstract", r"\\.\pipe\name"])
def test_what_has_no_file_is_refused(address: str) -> None:
    with pytest.raises(ValueError):
        Tap(address)


def test_without_a_server_nothing_is_changed(directory: Path) -> None:
    path = directory / "s"
    with pytest.raises(FileNotFoundError):
        enter(str(path))
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    with pytest.raises(ConnectionRefusedError):
        enter(str(path))
    path.unlink()
    path.write_text("a file")
    with pytest.raises(OSError, match="not a socket"):
        enter(str(path))
    assert os.listdir(directory) == ["s"]
