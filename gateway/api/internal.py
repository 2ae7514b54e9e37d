"""What replicas ask each other, under /internal/: the same use cases as the API's, for what runs here alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from gateway.api import schemas, views
from gateway.api.inside import Insight
from gateway.api.web import json_answer, read_told
from gateway.live.audio import AudioEndpoint
from gateway.replicas.routes import Handler, misdirected
from gateway.transcription.domain.errors import RunsElsewhere
from gateway.transcription.domain.preferences import Change
from gateway.transcription.domain.transcription import StartRequest
from gateway.transcription.usecases.feed import TakenElsewhere
from gateway.transcription.usecases.status import Seen, Status
from gateway.transcription.usecases.transcriptions import Transcriptions

if TYPE_CHECKING:
    from aiohttp import web


class StartHere(msgspec.Struct, rename="camel"):
    """`options`: as they are stored with a transcription, and so readable by versions beside each other."""

    session_slug: str
    source: str
    options: dict[str, Any]
    session_id: str | None = None


class StartedHere(msgspec.Struct, rename="camel"):
    created: bool
    state: str
    ingest: schemas.IngestView | None = None


class StopHere(msgspec.Struct, rename="camel"):
    session_slug: str
    reason: Annotated[str, Meta(max_length=1_000)]


class ChangeHere(msgspec.Struct, rename="camel"):
    session_slug: str
    change: Change


class Standing(msgspec.Struct):
    database: bool


class _Several(msgspec.Struct):
    transcriptions: list[schemas.TranscriptionView]


@dataclass(frozen=True, slots=True)
class InternalApi:
    """`view`: how the API shows a transcription. `reaches_database`: whether its last beat was answered."""

    transcriptions: Transcriptions
    status: Status
    audio: AudioEndpoint
    view: Callable[[Seen], schemas.TranscriptionView]
    reaches_database: Callable[[], bool]
    insight: Callable[[], Insight]

    def routes(self) -> dict[tuple[str, str], Handler]:
        """For `InternalRoutes`."""
        return {
            ("GET", "/internal/standing"): self.standing,
            ("POST", "/internal/transcription/start"): self.start,
            ("POST", "/internal/transcription/stop"): self.stop,
            ("POST", "/internal/transcription/change"): self.change,
            ("GET", "/internal/transcription"): self.running,
            ("GET", "/internal/transcription/{slug}"): self.show,
            ("GET", "/internal/transcription/{slug}/usage"): self.usage,
            ("GET", "/internal/transcription/{slug}/timeline"): self.timeline,
            ("GET", "/internal/transcription/{slug}/inside"): self.inside,
            ("GET", "/internal/audio"): self.speak,
        }

    async def standing(self, request: web.Request) -> web.Response:
        """Whether this replica reaches the database, which decides what it may take from others: 200, at once."""
        return json_answer(Standing(self.reaches_database()))

    async def start(self, request: web.Request) -> web.Response:
        """Begin it here: 201, or 200 when it runs already, here or elsewhere. Refused as the API refuses."""
        body = await read_told(request, StartHere)
        wanted = StartRequest.read(body.session_slug, body.source, body.options, body.session_id)
        started = await self.transcriptions.start(wanted)
        ingest = views.ingest(started.record.source, started.ingest)
        return json_answer(StartedHere(started.created, started.state, ingest), 201 if started.created else 200)

    async def stop(self, request: web.Request) -> web.Response:
        """Begin to stop what runs here: 202. 421 when it runs elsewhere, with the owner."""
        body = await read_told(request, StopHere)
        try:
            await self.transcriptions.stop(body.session_slug, wait=False, reason=body.reason)
        except RunsElsewhere as error:
            return misdirected(str(error), error.owner)
        return json_answer(schemas.StopAnswer("stopping"), 202)

    async def change(self, request: web.Request) -> web.Response:
        """Change what is asked for what runs here: 200 with what is in force. 421 when it runs elsewhere."""
        body = await read_told(request, ChangeHere)
        try:
            return json_answer(await self.transcriptions.change(body.session_slug, body.change))
        except RunsElsewhere as error:
            return misdirected(str(error), error.owner)

    async def running(self, request: web.Request) -> web.Response:
        """All that run here: 200."""
        return json_answer(_Several([self.view(one) for one in self.status.seen_here()]))

    async def show(self, request: web.Request) -> web.Response:
        """One that runs here: 200, else 421."""
        seen = self._here(request)
        return misdirected("it does not run here") if seen is None else json_answer(self.view(seen))

    async def usage(self, request: web.Request) -> web.Response:
        """Meters of one that runs here: 200, else 421."""
        seen = self._here(request)
        if seen is None or seen.run is None:
            return misdirected("it does not run here")
        bills, people = await self.status.bills(seen), await self.status.people(seen.record)
        return json_answer(views.usage(seen.record, seen.run.usage(), people, bills, seen.run))

    async def timeline(self, request: web.Request) -> web.Response:
        """Of one that runs here: 200, else 421."""
        seen = self._here(request)
        return misdirected("it does not run here") if seen is None else json_answer(views.timeline(seen))

    async def inside(self, request: web.Request) -> web.Response:
        """For an operator, of one that runs here: 200, else 421."""
        seen = self._here(request)
        return misdirected("it does not run here") if seen is None else json_answer(self.insight().of(seen))

    async def speak(self, request: web.Request) -> web.StreamResponse:
        """Audio of a sender on another replica, which has let it in: 101, or 421 when it is taken elsewhere."""
        try:
            return await self.audio.carried(request)
        except TakenElsewhere as error:
            return misdirected(str(error), error.owner)

    def _here(self, request: web.Request) -> Seen | None:
        slug = request.match_info["slug"]
        return next((one for one in self.status.seen_here() if one.record.slug == slug), None)
