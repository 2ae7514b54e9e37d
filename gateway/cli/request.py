"""One request to the HTTP API, with the standard library alone: others take longer to load than the answer takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any, Final
from urllib.parse import quote, urlsplit

from gateway.cli.errors import ApiRefused, absent, problem

_TIMEOUT_S: Final = 120.0
_PART: Final = 1 << 16


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
    return b"".join(parts(url, token, method, path, body)).decode("utf-8", "replace")


def parts(url: str, token: str, method: str, path: str, body: dict[str, Any] | None = None) -> Iterator[bytes]:
    """The same as it comes: an answer may be large. Raises: ApiRefused, also in the middle."""
    try:
        where = urlsplit(url.rstrip("/"))
        kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
        connection = kind(where.hostname or "localhost", where.port, timeout=_TIMEOUT_S)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        sent = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, where.path + path, sent, headers | {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status >= 400:
                raise ApiRefused(problem(answer.read().decode("utf-8", "replace"), answer.status))
            while part := answer.read(_PART):
                yield part
            if answer.length:
                raise IncompleteRead(b"", answer.length)  # the library notices it only where it is asked for everything
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        raise absent(f"no gateway answers at {url} ({error or type(error).__name__})") from error
