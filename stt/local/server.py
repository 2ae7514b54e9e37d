"""The HTTP side of the local speech server: routes, keys, error envelopes, and the server's life."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from stt.local import messages
from stt.local.archive import Archive, Query, Recorder, parse_query, request_id
from stt.local.callbacks import callback_client, is_public
from stt.local.connection import Connection
from stt.local.faults import BadPlan, Plan, Refusal, parse_plan
from stt.local.live import Limits, Live
from stt.local.messages import iso
from stt.local.recogniser import Engine, EngineUnavailable
from stt.local.request import REGIONS, BadRequest, SessionConfig, parse_request
from stt.reading import read_json
from stt.tasks import TaskOwner

log = logging.getLogger(__name__)

DEBUG_LIMIT_BYTES: Final = 100_000
GOING_AWAY: Final = 1012  # service restart: clients come back


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """`api_key` None: any key is accepted, but one must be there. `workers` None: one per core.

    `engine`: "pocketsphinx", "scripted", or an engine of one's own. `max_sessions`: open ones, above it 429.
    `record_limit_bytes`: recorded audio in memory over all sessions, 0 records nothing. `public_url`: what the
    returned WebSocket URLs start with (ws://...), None: the host the client asked. `allowed_origins`: of pages that may
    call it, "*" for all. `private_callbacks`: sessions may name a callback URL on this machine or its network.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_key: str | None = field(default=None, repr=False)
    engine: str | Engine = "pocketsphinx"
    workers: int | None = None
    max_sessions: int | None = None
    faults: Plan | dict[str, Any] | bytes | str | None = None
    fault_control: bool = False
    idle_s: float = 30.0
    max_duration_s: float = 3 * 3600.0
    frame_limit_bytes: int = 1 << 20
    keep_done: int = 1000
    record_limit_bytes: int = 64 << 20
    public_url: str | None = None
    allowed_origins: tuple[str, ...] = ()
    private_callbacks: bool = False


class LocalServer:
    """`async with LocalServer(options) as server`: inside the block it answers at `server.url`.

    Raises on entering: EngineUnavailable, BadPlan, OSError when the port is taken.
    """

    def __init__(self, options: LocalOptions | None = None) -> None:
        self.options = options or LocalOptions()
        self._plan = parse_plan(self.options.faults)
        self.engine = _engine(self.options)
        recorder = Recorder(self.options.record_limit_bytes) if self.options.record_limit_bytes else None
        self._archive = Archive(self.options.keep_done, recorder)
        self._tasks = TaskOwner()
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession | None = None
        self._closing = asyncio.Event()
        self._created = 0
        self._posts = 0
        self.url = ""

    @property
    def sessions(self) -> Mapping[str, Live]:
        """By id, oldest first."""
        return self._archive.sessions

    @property
    def faults(self) -> Plan:
        """The plan in force. A new one holds for open sessions too, and its ordinals count anew."""
        return self._plan

    @faults.setter
    def faults(self, plan: Plan | dict[str, Any] | bytes | str | None) -> None:
        self._plan = parse_plan(plan)
        self._posts = 0
        for live in self.sessions.values():
            if live.open:
                live.faults = self._plan.of(live.number)

    async def cut(self, session_id: str, code: int | None = None) -> None:
        """Cut a session's connection now: abort the TCP connection, or close the WebSocket with `code`."""
        socket = self.sessions[session_id].socket
        if socket is not None:
            await socket.hang_up(code)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.engine.close)
            await self.engine.start()
            self._http = await stack.enter_async_context(callback_client(self.options.private_callbacks))
            stack.push_async_callback(self._tasks.cancel)
            runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=2.0)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            site = web.TCPSite(runner, self.options.host, self.options.port)
            await site.start()
            stack.push_async_callback(self._hang_up)
            host, port = runner.addresses[0][:2]
            self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            self._stack = stack.pop_all()
        log.info("local speech server ready at %s, engine %s", self.url, self.engine.name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _pause(self, seconds: float) -> None:
        """A delay from the fault plan; a server that closes does not wait for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
                raise _Refused(503, "the server is closing")

    async def _hang_up(self) -> None:
        """Say good-bye on every connection, and let go of every session."""
        self._closing.set()
        sockets = [live.socket for live in self.sessions.values() if live.socket is not None]
        await asyncio.gather(*(socket.hang_up(GOING_AWAY) for socket in sockets), return_exceptions=True)
        for live in self.sessions.values():
            live.close()

    def _app(self) -> web.Application:
        app = web.Application(
            middlewares=[_cross_origin(self.options.allowed_origins), _envelope], client_max_size=1 << 20
        )
        app.add_routes(
            [
                web.get("/healthz", self._health),
                web.post("/v2/live", self._create),
                web.get("/v2/live", self._list_or_upgrade),
                web.get("/v2/live/{id}", self._show),
                web.delete("/v2/live/{id}", self._delete),
                web.patch("/v2/live/{id}", self._annotate),
                web.get("/v2/live/{id}/file", self._file),
            ]
        )
        if self.options.fault_control:
            app.add_routes([web.get("/_faults", self._show_faults), web.put("/_faults", self._set_faults)])
        return app

    # --- sessions -------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        self._posts += 1
        post, attempt = self._plan.post, self._posts
        await self._pause(post.delay_s)
        _refuse(next((r for r in post.refusals if r.covers(attempt)), None))
        region = request.query.get("region")
        if region is not None and region not in REGIONS:
            raise _Refused(400, "Bad Request", [f"region must be one of the following values: {', '.join(REGIONS)}"])
        config = replace(await self._read_config(request), region=region)
        limit = self.options.max_sessions if self._plan.max_sessions is None else self._plan.max_sessions
        if limit is not None and self._archive.count_open() >= limit:
            raise _Refused(429, f"too many concurrent live sessions (at most {limit})")
        live = self._open(config)
        if attempt <= post.lost_answers and request.transport is not None:
            request.transport.abort()
        base = self.options.public_url or f"ws://{request.host}"
        answer = {
            "id": live.id,
            "created_at": iso(live.created_at),
            "url": f"{base.rstrip('/')}/v2/live?token={live.token}",
        }
        return web.json_response(answer, status=201)

    async def _read_config(self, request: web.Request) -> SessionConfig:
        try:
            body = read_json(await request.read() or b"{}")
            config, unknown = parse_request(body, engine=self.engine.name, languages=self.engine.languages)
        except ValueError as error:
            raise _Refused(400, "Bad Request", [f"the body is not JSON: {error}"]) from error
        except BadRequest as error:
            raise _Refused(400, "Bad Request", error.problems) from error
        if config.callback_url and not self.options.private_callbacks and not is_public(config.callback_url):
            raise _Refused(400, "Bad Request", ["callback_config.url must not be an address of this network"])
        if unknown:
            log.info("ignored unknown fields of POST /v2/live: %s", ", ".join(unknown))
        return config

    def _open(self, config: SessionConfig) -> Live:
        self._created += 1
        id_, faults = str(uuid.uuid4()), self._plan.of(self._created)
        live = Live(
            id_=id_,
            token=id_ if faults.token_is_id else str(uuid.uuid4()),
            number=self._created,
            config=config,
            faults=faults,
            limits=Limits(self.options.idle_s, self.options.max_duration_s, self.options.frame_limit_bytes),
            engine=self.engine,
            tasks=self._tasks,
            tape=self._archive.recorder,
        )
        self._archive.add(live)
        if live.delivery.callbacks is not None and self._http is not None:
            self._tasks.start(live.delivery.callbacks.deliver(self._http), f"stt-callbacks-{live.id}")
            start = messages.lifecycle("start_session")
            if start.topic.wanted(config.callback):
                live.delivery.callbacks.put(start.wire(live.id, live.created_at))
        return live

    async def _list_or_upgrade(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._upgrade(request)
        self._check_key(request)
        try:
            query = parse_query(list(request.query.items()))
        except ValueError as error:
            raise _Refused(400, "Bad Request", str(error).splitlines()) from error
        found = [live for live in reversed(list(self.sessions.values())) if query.matches(live)]
        shown = found[query.offset : query.offset + query.limit]
        more = query.offset + query.limit < len(found)
        return web.json_response(
            {
                "first": _page(request, query, 0),
                "current": _page(request, query, query.offset),
                "next": _page(request, query, query.offset + query.limit) if more else None,
                "items": [self._archive.record(live) for live in shown],
            }
        )

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        """The token is the only credential here, as at the provider."""
        live = self._archive.by_token(request.query.get("token", ""))
        if live is None:
            raise _Refused(404, "no session has this token")
        _refuse(live.script.refuse_upgrade())
        await self._pause(live.faults.upgrade_delay_s)
        if request.transport is None or request.transport.is_closing():
            raise _Refused(503, "the client did not wait for its upgrade")
        if not live.deliverable:
            raise _Refused(403, "this session has ended")
        if live.connected and live.faults.second_connection == "refuse":
            raise _Refused(403, "this session is connected already")
        return await Connection(live, request, self._tasks).run()

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._archive.record(self._find(request)))

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        live = self._find(request)
        if live.open and live.faults.delete_open == "refuse":
            raise _Refused(403, "the session is still running; stop it before deleting it")
        if live.open:
            live.fail(410)
            if live.socket is not None:
                await live.socket.hang_up(4410)
        self._archive.remove(live)
        return web.Response(status=202)

    async def _annotate(self, request: web.Request) -> web.StreamResponse:
        live = self._find(request)
        body = await request.read()
        if len(body) > DEBUG_LIMIT_BYTES:
            raise _Refused(413, f"metadata must be at most {DEBUG_LIMIT_BYTES} bytes")
        try:
            data = read_json(body)
        except ValueError as error:
            raise _Refused(400, "Bad Request", [f"the body is not JSON: {error}"]) from error
        if not isinstance(data, dict):
            raise _Refused(400, "Bad Request", ["the body must be a JSON object"])
        live.debug.update(data)
        return web.Response(status=204)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        wav = self._archive.wav(self._find(request))
        if wav is None:
            raise _Refused(404, "no audio of this session was kept")
        return web.Response(body=wav, content_type="application/octet-stream")

    def _find(self, request: web.Request) -> Live:
        self._check_key(request)
        live = self.sessions.get(request.match_info["id"])
        if live is None:
            raise _Refused(404, "live job not found")
        return live

    def _check_key(self, request: web.Request) -> None:
        key = request.headers.get("x-gladia-key", "")
        if not key:
            raise _Refused(401, "no gladia key provided")
        if self.options.api_key is not None and key != self.options.api_key:
            raise _Refused(401, "gladia user not found")

    # --- beside the protocol --------------------------------------------------------------------------------

    async def _health(self, request: web.Request) -> web.StreamResponse:
        languages = sorted(self.engine.languages) if self.engine.languages is not None else None
        return web.json_response(
            {
                "status": "ok",
                "engine": self.engine.name,
                "languages": languages,
                "openSessions": self._archive.count_open(),
            }
        )

    async def _show_faults(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=msgspec.json.encode(self._plan), content_type="application/json")

    async def _set_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            self.faults = parse_plan(await request.read())
        except BadPlan as error:
            raise _Refused(400, "Bad Request", [str(error)]) from error
        return await self._show_faults(request)


class _Refused(Exception):
    """An HTTP error on its way to the provider's error envelope."""

    def __init__(
        self, status: int, message: str, problems: list[str] | None = None, retry_after_s: int | None = None
    ) -> None:
        self.status, self.message, self.problems = status, message, problems
        self.retry_after_s = retry_after_s
        super().__init__(message)


def _refuse(refusal: Refusal | None) -> None:
    if refusal is not None:
        message = f"HTTP {refusal.status} injected by the fault plan"
        raise _Refused(refusal.status, message, retry_after_s=refusal.retry_after_s)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in the provider's form."""
    try:
        return await handler(request)
    except _Refused as refused:
        return _error(request, refused)
    except web.HTTPException as error:
        if error.status in (404, 405):
            return _error(request, _Refused(404, f"Cannot {request.method} {request.path}"))
        return _error(request, _Refused(error.status, error.reason))


def _cross_origin(allowed: tuple[str, ...]) -> Middleware:
    """Lets pages of these origins call; the provider itself lets all."""

    @web.middleware
    async def permit(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        if not {"*", origin} & set(allowed):
            return await handler(request)
        if request.method == "OPTIONS":
            answer: web.StreamResponse = web.Response(status=204)
            answer.headers["Access-Control-Allow-Methods"] = "GET, POST, PATCH, DELETE"
            answer.headers["Access-Control-Allow-Headers"] = "x-gladia-key, x-gladia-version, content-type"
        else:
            answer = await handler(request)
        if not answer.prepared:
            answer.headers["Access-Control-Allow-Origin"] = "*" if "*" in allowed else origin
            answer.headers["Vary"] = "Origin"
        return answer

    return permit


def _error(request: web.Request, refused: _Refused) -> web.Response:
    body = {
        "timestamp": iso(datetime.now(UTC)),
        "path": request.path,
        "request_id": request_id(uuid.uuid4().hex),
        "statusCode": refused.status,
        "message": refused.message,
    }
    if refused.problems is not None:
        body["validation_errors"] = refused.problems
    headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
    return web.json_response(body, status=refused.status, headers=headers)


def _page(request: web.Request, query: Query, offset: int) -> str:
    pairs = [(key, value) for key, value in request.query.items() if key not in ("offset", "limit")]
    pairs += [("offset", str(offset)), ("limit", str(query.limit))]
    return f"http://{request.host}{request.path}?{urlencode(pairs)}"


def _engine(options: LocalOptions) -> Engine:
    match options.engine:
        case "scripted":
            from stt.local.scripted import ScriptedEngine

            return ScriptedEngine()
        case "pocketsphinx":
            from stt.local.sphinx import SphinxEngine

            return SphinxEngine(workers=options.workers)
        case str() as name:
            raise EngineUnavailable(f"there is no engine {name!r}; choose pocketsphinx or scripted")
        case engine:
            return engine
