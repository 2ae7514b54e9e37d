"""The version of this code: what the packages, the API's document, the metrics and the other replicas are told."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.2.0"
