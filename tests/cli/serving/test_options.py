"""Values of the options of ``npipe serve``."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from npipe.cli.app import cli
from npipe.cli.serving.options import access_of, ether, is_remote, names


def test_an_amount_of_ether_is_exact() -> None:
    assert ether("0.1") == 10**17
    assert ether("10000") == 10**22
    with pytest.raises(ValueError, match="not an amount"):
        ether("x")


@pytest.mark.parametrize("mode", ["9999", "7777", "77", "08"])
def test_a_mode_that_is_none_is_explained_in_one_line(mode: str) -> None:
    done = CliRunner().invoke(cli, ["serve", "--access", mode])
    assert f"Invalid value for '--access': {mode}: a mode has three octal digits" in done.output


def test_less_than_a_wei_is_refused() -> None:
    assert ether("0.000000000000000001") == 1
    with pytest.raises(ValueError, match="has more than 18 decimal places"):
        ether("0.0000000000000000001")


def test_names_and_addresses_are_recognised() -> None:
    assert names(" eth, net,,web3 ") == ("eth", "net", "web3")
    assert (access_of("660"), access_of("0600"), access_of("owner")) == (0o660, 0o600, "owner")
    assert [is_remote(each) for each in ("nats://h/x", "tls://h/x", "./x")] == [True, True, False]
