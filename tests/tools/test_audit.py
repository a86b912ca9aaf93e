"""Tests of tools/audit.py: which licences may be those of a dependency."""

from __future__ import annotations

import pytest

import audit


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "MIT License",
        "Apache Software License; MIT License",
        "Apache-2.0 OR BSD-3-Clause",
        "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        "Mozilla Public License 2.0 (MPL 2.0)",
        "LGPL-2.1",
        "GPL-3.0-only OR MIT",  # the choice is ours
    ],
)
def test_allowed(licence: str) -> None:
    assert audit.is_allowed(licence)


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-only", "AGPL-3.0", "UNKNOWN", "", "MIT AND GPL-3.0-only", "MIT License; SSPL-1.0"],
)
def test_refused(licence: str) -> None:
    assert not audit.is_allowed(licence)


def test_an_exception_is_for_a_package_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "EXCEPTIONS", {"a": "MIT", "gone": "MIT"})
    assert audit.refused({"a": "UNKNOWN", "b": "GPL"}) == [
        "b: GPL",
        "gone: is excepted, and is no dependency",
    ]


def test_a_service_that_does_not_answer_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "installed_licences", dict)
    monkeypatch.setattr(audit, "vulnerabilities", lambda: ("no route", 1, False))
    assert audit.main([]) == 0
    assert "cannot be reached" in capsys.readouterr().out
    assert audit.main(["--strict"]) == 1
