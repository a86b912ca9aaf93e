"""The options of a remote pipe, and their repr."""

from __future__ import annotations

import pickle

import pytest

import npipe


def test_the_password_is_not_shown():
    remote = npipe.Smb(r"DOMAIN\me", "secret", port=1445)
    assert "secret" not in repr(remote) + str(remote) + f"{remote!r}"
    assert r"username='DOMAIN\\me'" in repr(remote)
    assert "password='***'" in repr(remote)
    assert "password=None" in repr(npipe.Smb(auth="kerberos"))


def test_it_is_a_value():
    remote = npipe.Smb("me", "secret", encrypt=False, keepalive=1)
    assert pickle.loads(pickle.dumps(remote)) == remote
    assert remote != npipe.Smb("me", "other", encrypt=False, keepalive=1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        remote.password = "x"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "username and a password"),
        ({"username": "me"}, "username and a password"),
        ({"username": "", "password": ""}, "username and a password"),
        ({"password": "secret", "auth": "kerberos"}, "without a username"),
        ({"username": "me", "password": "secret", "auth": "basic"}, "auth='basic'"),
        ({"username": "me", "password": "secret", "port": 0}, "port=0"),
        ({"username": "me", "password": "secret", "port": 65536}, "port=65536"),
        ({"username": "me", "password": "secret", "keepalive": 0}, "keepalive=0"),
        ({"username": "me", "password": "secret", "keepalive": float("nan")}, "keepalive=nan"),
    ],
)
def test_what_makes_no_sense_is_refused(options, match):
    with pytest.raises(ValueError, match=match) as caught:
        npipe.Smb(**options)
    assert "secret" not in str(caught.value)
