"""Access tokens and the access check of the fake kernel.

Microsoft pages: "How AccessCheck Works", "Mandatory Integrity Control", "Restricted Tokens",
"ACE Strings", "Named Pipe Security and Access Rights".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

USER = "S-1-5-21-1-2-3-1001"
GROUP = "S-1-5-21-1-2-3-513"
OTHER = "S-1-5-21-1-2-3-1002"
ADMINISTRATORS = "S-1-5-32-544"
EVERYONE = "S-1-1-0"
LOW, MEDIUM, HIGH, SYSTEM_LEVEL = 0x1000, 0x2000, 0x3000, 0x4000
CREATE_INSTANCE = 0x4

_SIDS = {"SY": "S-1-5-18", "WD": EVERYONE, "BA": ADMINISTRATORS}
_LEVELS = {"LW": LOW, "ME": MEDIUM, "HI": HIGH, "SI": SYSTEM_LEVEL}
_WRITES = 0x2 | 0x4 | 0x10 | 0x100 | 0xD0000  # data, append, EA, attributes; DELETE, DAC, owner
_READS = 0x1 | 0x8
_ALL = 0x1F01FF
_RIGHTS = {"FA": _ALL, "FR": 0x120089, "FW": 0x120116}  # as SDDL names them


@dataclass(frozen=True)
class Token:
    """Who makes a call. A filtered administrator holds Administrators for denials only."""

    user: str = USER
    group: str = GROUP
    groups: frozenset[str] = frozenset({EVERYONE})
    deny_only: frozenset[str] = frozenset()
    restricted: frozenset[str] | None = None
    integrity: int = MEDIUM

    @property
    def elevated(self) -> bool:
        return self.integrity >= HIGH

    @property
    def owner(self) -> str:
        """The owner of what this token creates, if no other is asked for."""
        return ADMINISTRATORS if ADMINISTRATORS in self.groups else self.user

    def sids(self) -> frozenset[str]:
        return self.groups | {self.user, self.group}


def elevated(user: str = USER) -> Token:
    """Return the token of an elevated administrator."""
    return Token(user, groups=frozenset({EVERYONE, ADMINISTRATORS}), integrity=HIGH)


def filtered(user: str = USER) -> Token:
    """Return the token of the same administrator's ordinary programs."""
    return Token(user, deny_only=frozenset({ADMINISTRATORS}))


def owner_of(sddl: str, token: Token) -> str:
    """Return the owner that a descriptor names, or else the creator's default."""
    found = re.match(r"O:([\w-]+?)(?=[DGS]:|$)", sddl)
    return _SIDS.get(found[1], found[1]) if found else token.owner


def level_of(sddl: str) -> tuple[str, int]:
    """Return (policy, integrity level) of a descriptor's label; medium where there is none."""
    found = re.search(r"S:[^(]*\(ML;[^;]*;(\w*);;;([\w-]+)\)", sddl)
    if not found:
        return "NW", MEDIUM
    sid = found[2]
    return found[1], _LEVELS[sid] if sid in _LEVELS else int(sid.rsplit("-", 1)[1])


def low_label(sddl: str, token: Token) -> str:
    """Return the label that a creator below medium gives its objects; others give none."""
    if token.integrity >= MEDIUM or "S:" in sddl:
        return ""
    return f"S:(ML;;NW;;;S-1-16-{token.integrity})"


def granted(sddl: str, token: Token) -> int:
    """Return the access mask that the descriptor gives the token."""
    mask = _by_aces(sddl, token.sids(), token.deny_only)
    if token.restricted is not None:
        mask &= _by_aces(sddl, token.restricted, frozenset())
    policy, level = level_of(sddl)
    if token.integrity < level:
        mask &= ~(_WRITES if "NW" in policy else 0) & ~(_READS if "NR" in policy else 0)
    return mask


def _by_aces(sddl: str, sids: frozenset[str], deny_only: frozenset[str]) -> int:
    dacl = re.search(r"D:\w*((\([^()]*\))*)", sddl)
    if not dacl:
        return _ALL if not sddl else 0x120089  # the default: others may read
    allowed = denied = 0
    for kind, rights, sid in re.findall(r"\((A|D);[^;]*;(\w+);;;([\w-]+)\)", dacl[1]):
        sid = _SIDS.get(sid, sid)
        bits = _RIGHTS.get(rights) or int(rights, 16)
        if kind == "A" and sid in sids:
            allowed |= bits & ~denied
        elif kind == "D" and sid in sids | deny_only:
            denied |= bits & ~allowed
    return allowed
