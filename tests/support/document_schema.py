"""Writes docs/transcript-document.schema.json: `PYTHONPATH=$PWD:tests python -m support.document_schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from gateway.archive.document import FORMAT, Document

FILE = Path(__file__).parents[2] / "docs" / "transcript-document.schema.json"
_TIMES = ("createdAt", "startedAt", "endedAt", "generatedAt", "origin", "joinedAt", "leftAt")


def schema() -> dict[str, Any]:
    _, parts = msgspec.json.schema_components([Document], ref_template="#/$defs/{name}")
    for part in parts.values():
        for name, field in part["properties"].items():
            if name in _TIMES:
                for kind in field.get("anyOf", [field]):
                    if kind.get("type") == "string":
                        kind["format"] = "date-time"
    document = parts.pop("Document")
    document["properties"]["format"] = {"const": FORMAT}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:transcription-gateway:transcript-document:1",
        **document,
        "$defs": parts,
    }


def text() -> str:
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
