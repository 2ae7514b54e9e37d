"""What a space may use: its own limits, those in force, and what it has used today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from aiohttp import web

from gateway.api.errors import Problem
from gateway.api.openapi import Parameter, Route
from gateway.api.web import read_body
from gateway.errors import WrongRequest
from gateway.transcription.domain.limits import Limits, Overrides
from gateway.transcription.usecases.limits import LimitKeeper, SpaceView

_LONGEST_ID = 128
_SPACE = Parameter("id", "path", "the space's id")
Minutes = Annotated[float, msgspec.Meta(ge=0, le=10_000_000)]


class SpaceLimitsBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A space's own limits, minutes of audio; 0 = no limit, null or absent = as the gateway's settings say."""

    transcription: bool | None = None
    session_minutes: Minutes | None = None
    user_minutes_per_day: Minutes | None = None
    space_minutes_per_day: Minutes | None = None


class LimitsView(msgspec.Struct, rename="camel"):
    """Minutes of audio; 0 = no limit."""

    transcription: bool
    session_minutes: float
    user_minutes_per_day: float
    space_minutes_per_day: float


class SpaceLimitsView(msgspec.Struct, rename="camel"):
    """`own`: what differs here; `effective`: what is in force; `minutesToday`: used since midnight UTC."""

    space_id: str
    own: SpaceLimitsBody
    effective: LimitsView
    minutes_today: float


@dataclass(frozen=True, slots=True)
class LimitsApi:
    """What spaces may use; both operations are for services."""

    keeper: LimitKeeper

    def routes(self) -> list[Route]:
        """For `Api.more`."""
        problems: dict[int, type | None] = {400: Problem, 401: Problem, 503: Problem}
        return [
            Route("GET", "/api/spaces/{id}/limits", self.show, "What a space may use, and has used today",
                  parameters=(_SPACE,), answers={200: SpaceLimitsView, **problems}, tag="limits"),
            Route("PUT", "/api/spaces/{id}/limits", self.change, "Give a space limits of its own; running "
                  "transcriptions notice within seconds", body=SpaceLimitsBody, parameters=(_SPACE,),
                  answers={200: SpaceLimitsView, 413: Problem, **problems}, tag="limits",
                  audit="limits"),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> web.Response:
        """`GET /api/spaces/{id}/limits`: 200, also for a space without limits of its own."""
        space_id = _space(request)
        return _answer(space_id, await self.keeper.space(space_id))

    async def change(self, request: web.Request) -> web.Response:
        """`PUT /api/spaces/{id}/limits`: replaces the space's own limits as a whole; 200 with what is in force now."""
        space_id = _space(request)
        body = await read_body(request, SpaceLimitsBody)
        return _answer(space_id, await self.keeper.set_space(space_id, Overrides(**_fields(body))))


def _space(request: web.Request) -> str:
    space_id = request.match_info["id"]
    if len(space_id) > _LONGEST_ID:
        raise WrongRequest(f"the id of a space has at most {_LONGEST_ID} characters")
    return space_id


def _answer(space_id: str, view: SpaceView) -> web.Response:
    shown = SpaceLimitsView(
        space_id,
        SpaceLimitsBody(**_fields(view.overrides)),
        LimitsView(**_fields(view.effective)),
        round(view.spent_today_s / 60, 3),
    )
    return web.Response(body=msgspec.json.encode(shown), content_type="application/json")


def _fields(of: SpaceLimitsBody | Overrides | Limits) -> dict[str, Any]:
    """The same four everywhere."""
    names = ("transcription", "session_minutes", "user_minutes_per_day", "space_minutes_per_day")
    return {name: getattr(of, name) for name in names}
