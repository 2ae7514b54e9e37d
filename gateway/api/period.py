"""Periods in queries: `from` and `to` as days or instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from gateway.api.openapi import Parameter
from gateway.errors import WrongRequest

if TYPE_CHECKING:
    from aiohttp import web

FROM = Parameter("from", "query", "a day or an instant (ISO 8601; UTC unless it says otherwise)")
TO = Parameter("to", "query", "the same, exclusive")


def moment(request: web.Request, name: str) -> datetime | None:
    """The parameter `name` in UTC; None when it is not there. Raises: WrongRequest."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        given = datetime.fromisoformat(text)
        return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise WrongRequest(f"{name} must be a day (2026-01-05) or an instant (2026-01-05T10:00:00Z)") from None
