"""A certificate for the servers of a benchmark."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certify(folder: Path) -> Path:
    """A certificate for localhost that nobody else trusts."""
    both, key = folder / "both.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", both],
        check=True, capture_output=True,
    )  # fmt: skip
    with both.open("a") as file:
        file.write(key.read_text())
    return both
