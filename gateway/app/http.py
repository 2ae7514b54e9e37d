"""The HTTP side: one application for API, streams and console, and /metrics on a port of its own if asked."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.api import correlated
from gateway.api.analysis import AnalysisApi
from gateway.api.audit import AuditApi
from gateway.api.debug import DebugApi
from gateway.api.elsewhere import Elsewhere
from gateway.api.errors import note_begun, problems
from gateway.api.handover import HandoverApi
from gateway.api.host import HostApi
from gateway.api.inside import Insight
from gateway.api.internal import InternalApi
from gateway.api.limits import LimitsApi
from gateway.api.lines import LinesApi
from gateway.api.openapi import Route
from gateway.api.preferences import PreferencesApi
from gateway.api.replicas import ReplicasApi
from gateway.api.routes import BODY_LIMIT, Api
from gateway.api.search import SearchApi
from gateway.api.sessions import SessionsApi
from gateway.api.timeline import TimelineApi
from gateway.api.usage import UsageApi
from gateway.api.vocabulary import VocabularyApi
from gateway.api.web import CrossOrigin, no_server_header
from gateway.api.webhooks import WebhooksApi
from gateway.app.admittance import Caps
from gateway.app.advertise import advertised_url
from gateway.app.carried_encoders import CarriedEncoders
from gateway.app.gauges import gateway_metrics
from gateway.app.listener import Listener, ListenerOptions, listening
from gateway.app.metrics_page import metrics_page
from gateway.app.replica import Replica
from gateway.app.secrets import HeldSecrets
from gateway.app.transcription import TranscriptionWing
from gateway.app.wings import Wings
from gateway.availability import DatabaseProbe
from gateway.console.pages import register as register_pages
from gateway.delays import Delays
from gateway.live.credentials import bearer, is_service_token
from gateway.metrics import Metrics
from gateway.outage import RecordsUnavailable
from gateway.replicas.peers import key_for
from gateway.replicas.routes import InternalRoutes
from gateway.sessions.usecases.attendees import Attendees, Seen
from gateway.transcription.usecases.attend import WebhookRefused
from gateway.workers import ALONE

log = logging.getLogger(__name__)

_PRIVATE: Final = 10_000
"""Connections to a worker's own port, which other replicas use."""


@asynccontextmanager
async def open_http(wings: Wings) -> AsyncIterator[None]:
    """Connections are taken until the end of the block; there senders and watchers are told to come back (4000).

    From the start of the block the gateway's own addresses hold the port that was bound. Raises: StartFailed.
    """
    replica, live = wings.replica, wings.live
    metrics = gateway_metrics(wings)
    async with AsyncExitStack() as listeners:
        debug = _debug(wings)
        encoders = _carried_encoders(wings.transcription)
        app = _application(wings, _api(wings, metrics), debug, encoders)
        settings = replica.settings
        if replica.worker is None:
            [port] = await listeners.enter_async_context(listening(app, wings.listener))
            if settings.metrics_port:
                page = metrics_page(
                    settings.http_host, settings.metrics_port, _exposition(replica, metrics), debug.register
                )
                await listeners.enter_async_context(page)
        else:
            # The public port reaches any worker.
            private = Listener(ListenerOptions("127.0.0.1", 0, Caps(_PRIVATE, _PRIVATE)))
            port, private_port = await listeners.enter_async_context(listening(app, wings.listener, private))
            replica.addresses.private_bound(private_port)
            replica.worker.figures = metrics.families
            # What the supervisor's page passes on: which worker a question reaches there is for who asks to say.
            page = metrics_page("127.0.0.1", 0, None, debug.register)
            replica.worker.debug_port = await listeners.enter_async_context(page)
        replica.addresses.http_bound(port)
        await _advertise(wings, port)
        listeners.push_async_callback(live.endpoint.close)
        listeners.push_async_callback(live.audio.close)
        listeners.push_async_callback(encoders.close)
        yield


def _api(wings: Wings, metrics: Metrics) -> Api:
    transcription, live, proxies = wings.transcription, wings.live, wings.replica.settings.trusted_proxies
    audit = AuditApi(wings.sessions.audit, live.check_credential, proxies)
    return Api(
        transcriptions=transcription.transcriptions,
        status=transcription.status,
        steering=transcription.steering,
        elsewhere=Elsewhere(wings.others.look),
        records=transcription.records,
        finals=transcription.finals,
        recorder=transcription.recorder,
        transcriber=wings.speech.transcriber,
        hub=wings.hub,
        endpoint=live.endpoint,
        audio=live.audio,
        secrets=wings.replica.secrets.credentials,
        ready=_readiness(transcription, DatabaseProbe(wings.replica.database), wings.membership.may_act),
        metrics=None if wings.replica.settings.metrics_port else _exposition(wings.replica, metrics),
        public_url=wings.replica.addresses.http_url,
        webhook=_livekit_webhook(transcription, wings.sessions.module.attendees),
        document=wings.sessions.finaliser.document,
        more=(*_more_routes(wings), *audit.routes()),
        notes=[ALONE] if wings.replica.worker is not None and not wings.replica.settings.redis_url else [],
        noted=audit.noted,
    )


def _insight(wings: Wings) -> Insight:
    return Insight(wings.hub, wings.transcription.recorder, wings.membership.may_act())


def _carried_encoders(transcription: TranscriptionWing) -> CarriedEncoders:
    transcriptions, leases = transcription.transcriptions, transcription.records.leases
    return CarriedEncoders(transcription.rtmp, transcription.sources, leases, lambda: transcriptions.draining)


def _debug(wings: Wings) -> DebugApi:
    replica = wings.replica
    return DebugApi(
        replica.secrets.credentials,
        wings.transcription.status,
        Elsewhere(wings.others.look),
        partial(_insight, wings),
        replica.log_level,
    )


def _exposition(replica: Replica, metrics: Metrics) -> Callable[[], Awaitable[bytes]]:
    """Of all workers, where this is one of several."""
    if replica.worker is not None:
        return replica.worker.metrics

    async def text() -> bytes:
        return metrics.text()

    return text


def _more_routes(wings: Wings) -> tuple[Route, ...]:
    """Operations of the wings whose handlers have modules of their own."""
    live, module, transcription = wings.live, wings.sessions.module, wings.transcription
    check, proxies = live.check_credential, wings.replica.settings.trusted_proxies
    rates = wings.limits.rates
    sessions = SessionsApi(module.sessions, module.attendees, module.transcripts, rates, check, proxies)
    return (
        *sessions.routes(),
        *AnalysisApi(wings.analyses, module.admission, check).routes(),
        *HostApi(transcription.hosts, module.admission, rates, check, proxies).routes(),
        *PreferencesApi(transcription.steering, module.admission, rates, check, proxies).routes(),
        *VocabularyApi(transcription.records.vocabularies, module.admission, check).routes(),
        *LimitsApi(transcription.keeper).routes(),
        *SearchApi(wings.sessions.search, rates, check, proxies).routes(),
        *UsageApi(wings.sessions.reports, wings.replica.clock).routes(),
        *TimelineApi(transcription.status, Elsewhere(wings.others.look)).routes(),
        *ReplicasApi(wings.membership.members).routes(),
        *WebhooksApi(wings.webhooks.endpoints, wings.webhooks.sender.wake).routes(),
    )


def _readiness(
    transcription: TranscriptionWing, probe: DatabaseProbe, may_act: Callable[[], bool]
) -> Callable[[], Awaitable[list[str]]]:
    async def ready() -> list[str]:
        """Why this replica should get no requests now; an empty list when it should."""
        reasons = ["shutting down"] if transcription.transcriptions.draining else []
        try:
            await probe.ping()
        except RecordsUnavailable:
            reasons.append("the database does not answer")
        else:
            if not may_act():
                reasons.append("this replica is not a member of the others yet, or not any more")
        return reasons

    return ready


def _admits_replicas(secrets: HeldSecrets) -> Callable[[str, str], bool]:
    def admits(authorization: str, replica: str) -> bool:
        tokens = secrets.credentials().service_tokens
        good = (*tokens, *(key_for(replica, token) for token in tokens))
        return is_service_token(bearer(authorization) or "", good)

    return admits


async def _advertise(wings: Wings, port: int) -> None:
    """From now on other replicas may ask this one."""
    replica = wings.replica
    # The address of all workers leads to any of them.
    url = replica.addresses.private_url() or await advertised_url(replica.settings, replica.database_url, port)
    if url is None:
        log.warning("other replicas cannot reach this one: set GATEWAY_ADVERTISE_URL, or GATEWAY_HTTP_HOST to 0.0.0.0")
    wings.membership.advertise(url)
    if url is not None and (why := await wings.others.misled()):
        log.warning("other replicas will not find this one, set GATEWAY_ADVERTISE_URL: %s", why)


def _livekit_webhook(transcription: TranscriptionWing, attendees: Attendees) -> Callable[[bytes, str], Awaitable[None]]:
    """A signed event goes to the session's participants first, then to its transcription."""

    async def webhook(body: bytes, authorization: str) -> None:
        """Raises: WebhookRefused, RecordsUnavailable, RoomsUnavailable."""
        if transcription.livekit is None:
            raise WebhookRefused("this gateway has no LiveKit server; set LIVEKIT_URL and its keys")
        event = transcription.livekit.webhook(body, authorization)
        seen = Seen(event.identity, event.name, event.is_exact, event.bearer, event.sid, event.joined_ms)
        if event.of_person and event.kind == "participant_joined":
            await attendees.came(event.room, seen)
        elif event.of_person and event.kind == "participant_left":
            await attendees.went(event.room, seen)
        if transcription.attendance is not None:
            await transcription.attendance.told(event)

    return webhook


def _application(wings: Wings, api: Api, debug: DebugApi, encoders: CarriedEncoders) -> web.Application:
    app = web.Application(client_max_size=BODY_LIMIT)
    correlated.register(app)
    CrossOrigin(wings.replica.settings.allowed_origins).register(app)
    app.middlewares.append(_timing(wings.replica.delays))
    app.middlewares.append(problems)
    app.on_response_prepare.extend((no_server_header, note_begun))
    api.register(app)
    if not wings.replica.settings.metrics_port:
        debug.register(app)
    transcription = wings.transcription
    internal = InternalApi(
        transcription.transcriptions,
        transcription.status,
        wings.live.audio,
        api.view,
        lambda: wings.membership.reaches_database,
        partial(_insight, wings),
    )
    routes = internal.routes() | HandoverApi(transcription.handover).routes() | LinesApi(transcription.lines).routes()
    routes |= encoders.routes()
    InternalRoutes(wings.others.me, _admits_replicas(wings.replica.secrets)).register(app, routes)
    register_pages(app)
    return app


def _timing(delays: Delays) -> Middleware:
    """Every request but streams, which last as long as their reader stays."""

    @web.middleware
    async def timing(request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = time.perf_counter(), 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unknown"
            if not route.startswith("/api/realtime/"):
                delays.request(
                    route, request.method if resource is not None else "", status, time.perf_counter() - began
                )

    return timing
