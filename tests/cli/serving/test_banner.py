"""Tests of npipe.cli.serving.banner: the output of a server that is ready."""

from __future__ import annotations

import shlex

from npipe.cli.serving.banner import Ready


def ready(address: str = "/run/a.ipc", modules: tuple[str, ...] = ("shop",)) -> Ready:
    return Ready(address=address, version="1", pid=7, modules=modules)


def test_only_a_chain_is_offered_to_the_clients_of_a_chain() -> None:
    assert "web3.py" not in ready().text()
    assert "web3.py" in ready(modules=("eth", "net")).text()


def test_an_address_with_a_blank_is_quoted_for_the_shell() -> None:
    line = next(part for part in ready("/run/a b.ipc").text().splitlines() if "npipe call" in part)
    assert shlex.split(line)[3] == "/run/a b.ipc"


def test_the_keys_of_a_chain_are_shown_with_a_warning() -> None:
    shown = Ready(
        address="a", version="1", pid=7, modules=("eth",), accounts=("0x1",), keys=("0x2",)
    ).text()
    assert "0x2" in shown
    assert "never send" in shown


def test_the_record_says_where_and_what() -> None:
    record = ready().record()
    assert (record["address"], list(record["modules"]), record["pid"]) == (
        "/run/a.ipc",
        ["shop"],
        7,
    )
