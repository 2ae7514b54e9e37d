"""The HTTP control API: requests in, use cases called, answers out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from gateway.api import schemas, views, wishes
from gateway.api.audit import KEY_READ, UNCHANGED
from gateway.api.elsewhere import Elsewhere
from gateway.api.errors import Problem
from gateway.api.openapi import Handler, Parameter, Route, document
from gateway.api.web import json_answer, read_body, read_body_warned
from gateway.api.window import PARAMETERS, window
from gateway.archive import export
from gateway.archive.document import Document
from gateway.archive.errors import NoDocument
from gateway.errors import SessionNotFound, WrongRequest
from gateway.live import credentials
from gateway.live.audio import AudioEndpoint
from gateway.live.endpoint import LiveEndpoint
from gateway.live.hub import Hub
from gateway.transcription.domain.finals import StoredFinal
from gateway.transcription.domain.translations import told
from gateway.transcription.usecases.finals import FinalReader
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.records import Records, SessionRecord, TranslationRecords
from gateway.transcription.usecases.speech import Transcriber
from gateway.transcription.usecases.status import Seen, Status
from gateway.transcription.usecases.steering import Steering
from gateway.transcription.usecases.transcriptions import Transcriptions
from gateway.transcription.usecases.watch import NoSuchLanguage
from gateway.version import VERSION
from gateway.webhooks.events import EVENTS

BODY_LIMIT: Final = 64 * 1024
_PAGE: Final = 500

SLUG: Final = Parameter("slug", "path", "the session's slug")
NEWEST: Final = Parameter(
    "newest", "query", "without a good since only so many of the last finals; hello says with from where they begin",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999},
)  # fmt: skip
REFUSAL: Final = Parameter(
    "refusal", "query", "close: refused by a close code, as pages are, since a WebSocket hides HTTP"
)


@dataclass(frozen=True, slots=True)
class Api:
    """Handlers of the control API. `ready` names what is not ready; an empty list means all is. `notes`: what works
    less than fully as this gateway is set up."""

    transcriptions: Transcriptions
    status: Status
    steering: Steering
    elsewhere: Elsewhere
    records: Records
    finals: FinalReader
    recorder: Recorder
    transcriber: Transcriber
    hub: Hub
    endpoint: LiveEndpoint
    audio: AudioEndpoint
    secrets: Callable[[], credentials.Secrets]
    ready: Callable[[], Awaitable[list[str]]]
    metrics: Callable[[], Awaitable[bytes]] | None
    public_url: Callable[[], str]
    webhook: Callable[[bytes, str], Awaitable[None]]
    document: Callable[[str], Awaitable[bytes | None]]
    more: tuple[Route, ...] = ()
    """Operations whose handlers live in modules of their own."""
    notes: Sequence[str] = ()
    noted: Callable[[Route, Handler], Handler] | None = None
    """Makes a handler whose successes go into the audit log."""

    def routes(self) -> list[Route]:
        """Everything this API answers, as the document tells it."""
        problem = Problem
        own = [
            Route("POST", "/api/transcription/start", self.start, "Start a transcription; idempotent per session",
                  body=schemas.StartBody, answers={201: schemas.StartAnswer, 200: schemas.StartAnswer, 400: problem,
                  402: problem, 404: problem, 409: problem, 413: problem, 429: problem, 503: problem}, audit="start"),
            Route("POST", "/api/transcription/stop", self.stop, "Drain, then stop; idempotent",
                  body=schemas.StopBody, answers={200: schemas.StopAnswer, 202: schemas.StopAnswer, 400: problem,
                  404: problem, 413: problem, 503: problem}, audit="stop"),
            Route("GET", "/api/transcription", self.running, "Every transcription that is not stopped",
                  answers={200: schemas.TranscriptionList, 503: problem}),
            Route("GET", "/api/transcription/{slug}", self.show, "State, tracks, lag and health of one",
                  parameters=(SLUG,), answers={200: schemas.TranscriptionView, 404: problem, 503: problem}),
            Route("GET", "/api/transcription/{slug}/usage", self.usage, "Usage rows and totals",
                  parameters=(SLUG,), answers={200: schemas.UsageView, 404: problem, 503: problem}),
            Route("GET", "/api/sessions/{slug}/transcript", self.transcript, "Finals so far, as a file",
                  credential="watch", parameters=(SLUG,
                  Parameter("format", "query", "json (default), vtt, srt or txt",
                            {"type": "string", "enum": list(export.CONTENT_TYPES), "default": "json"}),
                  *PARAMETERS,
                  Parameter("lang", "query", "translations into this language, in place of the text but in JSON")),
                  answers={200: schemas.Transcript, 400: problem, 403: problem, 404: problem, 406: problem,
                           503: problem}, files=("text/vtt", "application/x-subrip", "text/plain"), tag="sessions",
                  audit="export"),
            Route("GET", "/api/sessions/{slug}/document", self.finalised, "The whole transcript of a session that has "
                  "ended, as it is kept in the blob store (docs/transcript-document.schema.json)",
                  credential="watch", parameters=(SLUG,),
                  answers={200: Document, 403: problem, 404: problem, 503: problem}, tag="sessions", audit="export"),
            Route("GET", "/api/realtime/transcribe", self.endpoint.watch,
                  "The live stream: hello, finals with a gapless seq, partials, state, health; over WebSocket, or as "
                  "server-sent events with Accept: text/event-stream",
                  credential="watch", parameters=(
                  Parameter("session", "query", "the session's slug"),
                  Parameter("since", "query", "EPOCH:SEQ of the last final one has; with lang EPOCH:SEQ:TRANSLATION"),
                  Parameter("lang", "query", "only translations into this language, each once, also after a cut"),
                  Parameter("Last-Event-ID", "header", "the same, as an EventSource sends it; goes before since"),
                  Parameter("token", "query", "the credential, where headers cannot be set"), REFUSAL, NEWEST,
                  Parameter("epochs", "query", "1: the program goes on with its numbers under the epoch of a hello "
                            "that says resumed: true, also in the middle of the stream; so a new epoch interrupts "
                            "nobody who has seen nothing void"),
                  Parameter("timing", "query", "1: a message of type timing behind each final: where its time went"),
                  Parameter("beat", "query", "1: a message of type beat every 15 s, for pages that cannot see pings")),
                  answers={101: None, 200: None, 204: None, 400: problem, 401: problem, 403: problem, 404: problem,
                  426: problem, 429: problem, 503: problem}, files=("text/event-stream",), tag="live"),
            Route("GET", "/api/realtime/audio", self.audio.speak,
                  "Audio in over a WebSocket: a start message, then s16le PCM; answered by ready and ack",
                  credential="watch", parameters=(
                  Parameter("session", "query", "the session's slug"),
                  Parameter("identity", "query", "who speaks; by default whom the credential names"),
                  Parameter("name", "query", "the speaker's name, where the credential has none"),
                  Parameter("token", "query", "the credential, where headers cannot be set"), REFUSAL),
                  answers={101: None, 400: problem, 401: problem, 403: problem, 404: problem, 426: problem,
                  429: problem, 503: problem}, tag="live"),
            Route("POST", "/api/livekit/webhook", self.livekit_webhook, "Events of the LiveKit server, signed by it: "
                  "the first join starts a transcription, the room's end stops it",
                  credential="livekit", answers={200: None, 401: problem, 413: problem, 503: problem}, tag="livekit"),
        ]  # fmt: skip
        return [*own, *_operation(self), *self.more]

    def register(self, app: web.Application) -> None:
        """Route every operation. Those for services are guarded here; other handlers check the credential."""
        for route in self.routes():
            handler = route.handler
            if route.audit and self.noted is not None:
                handler = self.noted(route, handler)
            if route.credential == "service":
                handler = self._service_only(handler)
            app.router.add_route(route.method, route.path, handler)

    def _service_only(self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        async def guarded(request: web.Request) -> web.StreamResponse:
            token = credentials.bearer(request.headers.get("Authorization", ""))
            if token is None or not credentials.is_service_token(token, self.secrets().service_tokens):
                raise credentials.CredentialRefused("a service token is needed")
            return await handler(request)

        return guarded

    # --- transcription ------------------------------------------------------------------------------------

    async def start(self, request: web.Request) -> web.Response:
        """`POST /api/transcription/start`, for services: 201 when it is new, 200 when it runs already.

        404 when there is no such session; 402, 409 and 429 say which limit or state forbids it; 503 what is not ready.
        """
        body, warnings = await read_body_warned(request, schemas.StartBody)
        asked = wishes.start_request(body, body.session_slug, body.source, body.session_id)
        warnings += wishes.warnings(asked)
        answer = await self.steering.start(asked)
        request[UNCHANGED] = not answer.created
        request[KEY_READ] = answer.ingest is not None and answer.ingest.stream_key is not None
        return json_answer(views.started(answer, warnings), 201 if answer.created else 200)

    async def stop(self, request: web.Request) -> web.Response:
        """`POST /api/transcription/stop`, for services: 200 once it is drained; 202 at once with `wait: false`.

        404 when the session was never transcribed. May be repeated.
        """
        body = await read_body(request, schemas.StopBody)
        stopped = await self.steering.stop(body.session_slug, wait=body.wait)
        if stopped is None:
            return json_answer(schemas.StopAnswer("stopping"), 202)
        used = views.usage(stopped.record, stopped.usage, await self.status.people(stopped.record))
        return json_answer(schemas.StopAnswer("stopped", stopped.finals_complete, used))

    async def running(self, request: web.Request) -> web.Response:
        """`GET /api/transcription`, for services: 200 with those that are not stopped, on all replicas."""
        seen = await self.status.all_seen()
        told = await self.elsewhere.views(seen)
        shown = [told.get(one.record.slug) or self.view(one) for one in seen]
        return json_answer({"transcriptions": shown, "database": views.database(seen)})  # as a TranscriptionList

    async def show(self, request: web.Request) -> web.Response:
        """`GET /api/transcription/{slug}`, for services: 200 with the session's last one; 404 when there was none."""
        seen = await self.status.seen(request.match_info["slug"])
        return json_answer(await self.elsewhere.view(seen) or self.view(seen))

    def view(self, seen: Seen) -> schemas.TranscriptionView:
        """What this replica knows of one."""
        watchers = self.hub.watching(seen.record.slug)
        return views.transcription(seen, self.transcriber.engine, watchers, self.recorder.behind_s)

    async def usage(self, request: web.Request) -> web.Response:
        """`GET /api/transcription/{slug}/usage`, for services: 200 with rows, totals and the provider's bills; 404.

        `billing` is null while the database, which alone has it, does not answer.
        """
        slug = request.match_info["slug"]
        seen = await self.status.seen(slug)
        if (told := await self.elsewhere.usage(seen)) is not None:
            return json_answer(told)
        used, bills = await self.status.usage(slug), await self.status.bills(seen)
        people = await self.status.people(seen.record)
        return json_answer(views.usage(seen.record, used, people, bills, seen.run))

    # --- sessions -----------------------------------------------------------------------------------------

    async def transcript(self, request: web.Request) -> web.StreamResponse:
        """`GET /api/sessions/{slug}/transcript`, for any credential of the session: 200, streamed page by page.

        406 for an unknown `format`, 400 for a part that is no such thing or a `lang` that nobody has asked for.
        """
        kind = request.query.get("format", "json")
        if kind not in export.CONTENT_TYPES:
            raise web.HTTPNotAcceptable(text=f"format must be one of {', '.join(export.CONTENT_TYPES)}")
        session = await self._readable_session(request)
        language = request.query.get("lang")
        if language is not None:
            try:
                await self.endpoint.policy.watching.check_language(session.id, language)
            except NoSuchLanguage as error:
                raise WrongRequest(str(error)) from None
        response = web.StreamResponse(
            headers={
                "Content-Type": export.CONTENT_TYPES[kind],
                "Content-Disposition": f'inline; filename="{_file_name(session.slug)}.{kind}"',
                "Cache-Control": "no-store",
            }
        )
        response.enable_compression()  # where it is asked for: a long meeting is a tenth then
        newest = await self.finals.newest(session.id)
        asked = await window(request.query, self.finals, session.id, newest)
        numbering = await self.records.transcriptions.numbering(session.id)
        head: dict[str, object] = {
            "sessionSlug": session.slug,
            "epoch": numbering.epoch if numbering else None,
            "lastSeq": newest,
            "translatedTo": await self.records.translations.languages(session.id),
        }
        # An error must come before the first byte.
        first = await self.finals.since(session.id, asked.after, min(asked.limit, _PAGE))
        await response.prepare(request)
        pages = self._pages(session.id, first, asked.limit)
        if language is not None:
            pages = _in_language(self.records.translations, session.id, language, pages, beside=kind == "json")
        if kind == "json":
            await _write_json(response, head, pages)
        else:
            writer = export.writer(kind)  # type: ignore[arg-type]
            await response.write(writer.head.encode())
            async for page in pages:
                lines = [writer.write(_spoken(seq, data)) for seq, data in page]
                await response.write("".join(lines).encode())
            await response.write(writer.finish().encode())
        await response.write_eof()
        return response

    async def finalised(self, request: web.Request) -> web.Response:
        """`GET /api/sessions/{slug}/document`, for any credential of the session: 200; 404 while there is none."""
        session = await self._readable_session(request)
        found = await self.document(session.id)
        if found is None:
            raise NoDocument(session.slug)
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        return web.Response(body=found, headers=headers)

    async def _readable_session(self, request: web.Request) -> SessionRecord:
        access = await self.endpoint.policy.check(_token(request))
        session = await self.records.sessions.by_slug(request.match_info["slug"])
        if session is None:
            raise SessionNotFound(request.match_info["slug"])
        await self.endpoint.policy.admit(access, session.slug, session.space_id, is_over=session.is_over)
        return session

    async def _pages(
        self, session_id: str, first: Sequence[StoredFinal], limit: int
    ) -> AsyncIterator[list[tuple[int, bytes]]]:
        page = first
        while page:
            yield [(final.seq, final.data) for final in page]
            limit -= len(page)
            goes_on = limit > 0 and len(page) == _PAGE
            page = await self.finals.since(session_id, page[-1].seq, min(limit, _PAGE)) if goes_on else []

    # --- LiveKit ------------------------------------------------------------------------------------------

    async def livekit_webhook(self, request: web.Request) -> web.Response:
        """`POST /api/livekit/webhook`, signed by the LiveKit server: 200 also for events that mean nothing here."""
        await self.webhook(await request.read(), request.headers.get("Authorization", ""))
        return web.Response()

    # --- operation ----------------------------------------------------------------------------------------

    async def health(self, request: web.Request) -> web.Response:
        """`GET /healthz`, for all: 200 as long as the event loop runs."""
        return json_answer(schemas.Health("ok"))

    async def readiness(self, request: web.Request) -> web.Response:
        """`GET /readyz`, for all: 200, or 503 with the reasons."""
        reasons = await self.ready()
        said: Literal["ready", "not ready"] = "not ready" if reasons else "ready"
        full = self.transcriptions.is_full or msgspec.UNSET
        status = schemas.Ready(said, self.transcriber.engine, reasons, full, list(self.notes) or msgspec.UNSET)
        return json_answer(status, 503 if reasons else 200)

    async def prometheus(self, request: web.Request) -> web.Response:
        """`GET /metrics`, for services: 200 with the text format of Prometheus."""
        text = await self.metrics() if self.metrics else b""
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def openapi(self, request: web.Request) -> web.Response:
        """`GET /openapi.json`, for all: 200."""
        return json_answer(document(self.routes(), VERSION, self.public_url(), EVENTS))


def _operation(api: Api) -> list[Route]:
    """What operators and their programs ask."""
    return [
        Route("GET", "/healthz", api.health, "The process answers", credential=None,
              answers={200: schemas.Health}, tag="operation"),
        Route("GET", "/readyz", api.readiness, "Whether work can be done, with reasons", credential=None,
              answers={200: schemas.Ready, 503: schemas.Ready}, tag="operation"),
        Route("GET", "/openapi.json", api.openapi, "This document", credential=None,
              answers={200: dict}, tag="operation"),
    ] + ([Route("GET", "/metrics", api.prometheus, "Prometheus metrics", answers={200: None},
                files=("text/plain",), tag="operation")] if api.metrics else [])  # fmt: skip


def _token(request: web.Request) -> str | None:
    token = credentials.bearer(request.headers.get("Authorization", ""))
    return token if token is not None else request.query.get("token")


def _file_name(slug: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in slug)


def _spoken(seq: int, data: bytes) -> export.SpokenLine:
    said = msgspec.json.decode(data)
    words = tuple((word["text"], word["startMs"], word["endMs"]) for word in said.get("words", ()))
    name, identity = said.get("participantName"), said.get("participantIdentity")
    return export.SpokenLine(seq, name or identity, said["text"], said["startMs"], said["endMs"], words, identity)


async def _in_language(
    translations: TranslationRecords,
    session_id: str,
    language: str,
    pages: AsyncIterator[list[tuple[int, bytes]]],
    *,
    beside: bool,
) -> AsyncIterator[list[tuple[int, bytes]]]:
    """Finals with their translation, `beside` the text or in its place; one that has none stays as it is."""
    async for page in pages:
        found = await translations.of_finals(session_id, page[0][0], page[-1][0], language) if page else ()
        texts = {one.of_seq: told(one.data).text for one in found}
        yield [
            (seq, _translated(data, language, texts[seq], beside=beside) if seq in texts else data)
            for seq, data in page
        ]


def _translated(data: bytes, language: str, text: str, *, beside: bool) -> bytes:
    said = msgspec.json.decode(data)
    if beside:
        return msgspec.json.encode(said | {"translations": {language: text}})
    return msgspec.json.encode(said | {"text": text, "language": language, "words": []})


async def _write_json(
    response: web.StreamResponse, head: dict[str, object], pages: AsyncIterator[list[tuple[int, bytes]]]
) -> None:
    await response.write(msgspec.json.encode(head)[:-1] + b',"finals":[')
    comma = b""
    async for page in pages:
        parts = []
        for seq, data in page:
            parts.append(comma + b'{"seq":' + str(seq).encode() + b"," + data.lstrip()[1:])
            comma = b","
        await response.write(b"".join(parts))
    await response.write(b"]}\n")
