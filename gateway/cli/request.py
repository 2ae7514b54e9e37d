"""One request to the HTTP API, with the standard library alone: others take longer to load than the answer takes."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, urlsplit

from gateway.cli.errors import ApiRefused, absent, problem

_TIMEOUT_S: Final = 120.0


def quoted(slug: str) -> str:
    """A slug as one part of a path; `.` and `..` would be taken for folders."""
    return slug.replace(".", "%2E") if slug in {".", ".."} else quote(slug, safe="")


def call(url: str, token: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """JSON in, JSON out. Raises: ApiRefused."""
    answer = text(url, token, method, path, body)
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise ApiRefused(f"the answer is no JSON: {answer[:100]!r}; is {url} a gateway?") from None


def text(url: str, token: str, method: str, path: str, body: dict[str, Any] | None = None) -> str:
    """The answer's body. `path` is sent as it is, `body` as JSON. Raises: ApiRefused."""
    try:
        parts = urlsplit(url.rstrip("/"))
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "localhost", parts.port, timeout=_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        sent = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, parts.path + path, sent, headers | {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        raise absent(f"no gateway answers at {url} ({error or type(error).__name__})") from error
    if answer.status >= 400:
        raise ApiRefused(problem(told, answer.status))
    return told
