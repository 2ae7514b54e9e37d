"""What an operator asks a running process at night, below /debug/: where it stands, what it computes, how much it logs.

Not in the OpenAPI document: text and fields are for people, and change with the code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from gateway.api.elsewhere import Elsewhere
from gateway.api.inside import Insight
from gateway.api.web import json_answer, read_body
from gateway.cpu_profile import LONGEST_S, CpuProfile
from gateway.errors import WrongRequest
from gateway.live import credentials
from gateway.log_level import FOR_S, LogLevel
from gateway.stacks import tasks_now
from gateway.transcription.usecases.status import Status

PREFIX: Final = "/debug"
_PROFILE_S: Final = 10.0
_SHORTEST_S: Final = 0.1
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ChangeLevel(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """`minutes`: after them it is again what GATEWAY_LOG_LEVEL says."""

    level: Literal["debug", "info", "warning", "error"]
    minutes: Annotated[float, Meta(gt=0, le=1_440)] = FOR_S / 60


class LevelView(msgspec.Struct, rename="camel"):
    """`secondsLeft`: until it is again what is configured; null while it is."""

    level: str
    configured: str
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class DebugApi:
    """`secrets`: of which every service token is good for all of it. `insight`: as it is now."""

    secrets: Callable[[], credentials.Secrets]
    status: Status
    elsewhere: Elsewhere
    insight: Callable[[], Insight]
    log_level: LogLevel
    _profile: CpuProfile = field(default_factory=CpuProfile)

    def register(self, app: web.Application) -> None:
        """Whoever has no service token gets 401 from each of them."""
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/tasks", self.tasks),
            ("GET", "/profile", self.profile),
            ("GET", "/sessions/{slug}", self.session),
            ("GET", "/log", self.level),
            ("PUT", "/log", self.change_level),
        )
        for method, path, handler in routes:
            app.router.add_route(method, PREFIX + path, self._guarded(handler))

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            token = credentials.bearer(request.headers.get("Authorization", ""))
            if not credentials.is_service_token(token or "", self.secrets().service_tokens):
                raise credentials.CredentialRefused("a service token is needed")
            answer = await handler(request)
            answer.headers["Cache-Control"] = "no-store"
            return answer

        return guarded

    async def tasks(self, request: web.Request) -> web.Response:
        """`GET /debug/tasks`: 200, as `stacks.tasks_now` tells it."""
        return web.Response(text=await tasks_now())

    async def profile(self, request: web.Request) -> web.Response:
        """`GET /debug/profile?seconds=10`: 200 after so long, with collapsed stacks; 409 while another one is taken."""
        return web.Response(text=await self._profile.measure(_seconds(request.query.get("seconds"))))

    async def session(self, request: web.Request) -> web.Response:
        """`GET /debug/sessions/{slug}`: 200, from whichever replica runs it; 404 for one that was never transcribed."""
        seen = await self.status.seen(request.match_info["slug"])
        return json_answer(await self.elsewhere.inside(seen) or self.insight().of(seen))

    async def level(self, request: web.Request) -> web.Response:
        """`GET /debug/log`: 200."""
        level = self.log_level
        left_s = level.left_s
        return json_answer(LevelView(level.now, level.configured, None if left_s is None else round(left_s)))

    async def change_level(self, request: web.Request) -> web.Response:
        """`PUT /debug/log` `{level, minutes?}`: 200 with what holds now."""
        body = await read_body(request, ChangeLevel)
        self.log_level.change(body.level, body.minutes * 60)
        return await self.level(request)


def _seconds(text: str | None) -> float:
    try:
        seconds = _PROFILE_S if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if not _SHORTEST_S <= seconds <= LONGEST_S:
        raise WrongRequest(f"seconds must be a number from {_SHORTEST_S:g} to {LONGEST_S:g}")
    return seconds
