"""Where the time of a transcription's finals went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.api import schemas, views
from gateway.api.elsewhere import Elsewhere
from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.web import json_answer
from gateway.transcription.usecases.status import Status

if TYPE_CHECKING:
    from aiohttp import web


@dataclass(frozen=True, slots=True)
class TimelineApi:
    status: Status
    elsewhere: Elsewhere

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        return [
            Route(
                "GET",
                "/api/transcription/{slug}/timeline",
                self.timeline,
                "Where the time of its newest finals went, hop by hop",
                parameters=(Parameter("slug", "path", "the session's slug"),),
                answers={200: schemas.TimelineView, 404: Problem, 503: Problem},
            )
        ]

    async def timeline(self, request: web.Request) -> web.Response:
        """For services: 200, without finals unless it runs; 404."""
        seen = await self.status.seen(request.match_info["slug"])
        return json_answer(await self.elsewhere.timeline(seen) or views.timeline(seen))
