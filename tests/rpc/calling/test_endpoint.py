"""What a client may be connected to."""

from __future__ import annotations

import pytest

from npipe.rpc.calling.endpoint import (
    check_reconnect,
    is_command,
    refuse_pipe_options,
    wrong_endpoint,
)


@pytest.mark.parametrize("endpoint", [["prog"], ("prog", "-x")])
def test_a_command_line(endpoint: object) -> None:
    assert is_command(endpoint)


@pytest.mark.parametrize("endpoint", ["prog", b"prog", [], ["prog", 1], {"prog"}, None])
def test_no_command_line(endpoint: object) -> None:
    assert not is_command(endpoint)
    assert type(endpoint).__name__ in str(wrong_endpoint(endpoint))


def test_only_what_we_made_is_made_again() -> None:
    check_reconnect(None, exists=True)
    check_reconnect(1.0, exists=False)
    with pytest.raises(ValueError, match="leave it out"):
        check_reconnect(1.0, exists=True)


def test_an_option_that_protects_a_pipe_is_not_ignored_elsewhere() -> None:
    refuse_pipe_options({"wait": True, "verify_server": "auto", "remote": None})
    for name in ("verify_server", "remote"):
        with pytest.raises(ValueError, match=f"{name} is for the address of a pipe only"):
            refuse_pipe_options({name: "owner"})
