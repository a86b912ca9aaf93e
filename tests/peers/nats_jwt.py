"""A NATS server in operator mode: signed credentials, made as the program ``nsc`` makes them.

The formats are NATS's own: https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

__all__ = ["operator_mode"]


def operator_mode(directory: Path) -> tuple[str, Path]:
    """Return the configuration of a server, and the file of a user's credentials."""
    import nkeys

    def key(prefix: int) -> Any:
        return nkeys.from_seed(nkeys.encode_seed(os.urandom(32), prefix))

    operator = key(nkeys.PREFIX_BYTE_OPERATOR)
    account, user = key(nkeys.PREFIX_BYTE_ACCOUNT), key(nkeys.PREFIX_BYTE_USER)
    no_limits = dict.fromkeys(
        ("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1
    ) | {"wildcards": True}
    accepted = _sign(operator, operator, "operator", {})
    tenant = _sign(operator, account, "account", {"limits": no_limits})
    member = _sign(account, user, "user", {"pub": {}, "sub": {}, "subs": -1, "payload": -1})
    creds = directory / "user.creds"
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{member}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    name = account.public_key.decode()
    config = f"operator: {accepted}\nresolver: MEMORY\nresolver_preload: {{ {name}: {tenant} }}\n"
    return config, creds


def _sign(issuer: Any, subject: Any, kind: str, claims: dict[str, Any]) -> str:
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {
        "jti": os.urandom(16).hex(),
        "iat": int(time.time()),
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": kind,
        "nats": {"type": kind, "version": 2, **claims},
    }
    text = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(body).encode())}"
    return f"{text}.{_encode(issuer.sign(text.encode()))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
