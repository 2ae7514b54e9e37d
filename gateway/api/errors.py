"""One table: what went wrong → HTTP status, told as RFC 9457 problem details."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from gateway.analysis.errors import AnalysisNotFailed, NoAnalysis
from gateway.archive.errors import DeletingRefused, NoDocument, SearchTooSlow
from gateway.archive.finalise import BlobsUnavailable
from gateway.cpu_profile import ProfileRefused
from gateway.errors import SessionError, SessionFull, SessionNotFound, SessionOver, WrongRequest
from gateway.live.credentials import CredentialRefused, Forbidden
from gateway.live.protocol import CloseCode
from gateway.live.slots import NotAdmitted
from gateway.names import NameRefused
from gateway.outage import RecordsUnavailable
from gateway.sessions.domain.errors import (
    ControlRefused,
    ControlUnavailable,
    CredentialNeeded,
    Denied,
    IdentityTaken,
    NoRooms,
    NoSuchParticipant,
    NoSuchSpace,
    SessionNotEnded,
    SessionNotLive,
    TooManyRequests,
)
from gateway.transcription.domain.errors import (
    CostCapReached,
    LimitReached,
    NeverStarted,
    NoRoom,
    NotFedByBrowsers,
    NotPresent,
    NotReady,
    NotRunning,
    ProviderRefusedKey,
    RefusedThere,
    RunsElsewhere,
    SourceUnavailable,
    TranscriptionOff,
)
from gateway.transcription.usecases.attend import RoomsUnavailable, WebhookRefused
from gateway.webhooks.endpoints import NoSuchDelivery, NoSuchWebhook, TooManyWebhooks, WebhookFixed

log = logging.getLogger(__name__)

_BEGUN: Final = web.RequestKey("gateway.begun", bool)

STATUS: Final[dict[type[Exception], HTTPStatus]] = {
    SessionNotFound: HTTPStatus.NOT_FOUND,
    NeverStarted: HTTPStatus.NOT_FOUND,
    NoDocument: HTTPStatus.NOT_FOUND,
    SearchTooSlow: HTTPStatus.SERVICE_UNAVAILABLE,
    SessionOver: HTTPStatus.CONFLICT,
    CostCapReached: HTTPStatus.PAYMENT_REQUIRED,
    TranscriptionOff: HTTPStatus.CONFLICT,
    LimitReached: HTTPStatus.TOO_MANY_REQUESTS,
    RunsElsewhere: HTTPStatus.SERVICE_UNAVAILABLE,
    SourceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    ProviderRefusedKey: HTTPStatus.SERVICE_UNAVAILABLE,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    NoRoom: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusedThere: HTTPStatus.BAD_GATEWAY,  # unless it brings the other replica's own
    NotFedByBrowsers: HTTPStatus.CONFLICT,
    NotPresent: HTTPStatus.CONFLICT,
    NotRunning: HTTPStatus.CONFLICT,
    WrongRequest: HTTPStatus.BAD_REQUEST,
    NameRefused: HTTPStatus.BAD_REQUEST,
    SessionNotEnded: HTTPStatus.CONFLICT,
    NoAnalysis: HTTPStatus.NOT_FOUND,
    AnalysisNotFailed: HTTPStatus.CONFLICT,
    CredentialNeeded: HTTPStatus.UNAUTHORIZED,
    Denied: HTTPStatus.FORBIDDEN,
    SessionNotLive: HTTPStatus.CONFLICT,
    NoSuchSpace: HTTPStatus.BAD_REQUEST,
    NoSuchParticipant: HTTPStatus.NOT_FOUND,
    IdentityTaken: HTTPStatus.CONFLICT,
    SessionFull: HTTPStatus.CONFLICT,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    DeletingRefused: HTTPStatus.SERVICE_UNAVAILABLE,
    NoRooms: HTTPStatus.SERVICE_UNAVAILABLE,
    ControlUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    ControlRefused: HTTPStatus.SERVICE_UNAVAILABLE,
    NoSuchWebhook: HTTPStatus.NOT_FOUND,
    NoSuchDelivery: HTTPStatus.NOT_FOUND,
    WebhookFixed: HTTPStatus.CONFLICT,
    TooManyWebhooks: HTTPStatus.CONFLICT,
    ProfileRefused: HTTPStatus.CONFLICT,
}


class Problem(msgspec.Struct):
    """RFC 9457. `type` is `about:blank`: the title and the status say what it is."""

    type: str
    title: str
    status: int
    detail: str
    hint: str | msgspec.UnsetType = msgspec.UNSET


def problem(status: int, title: str, detail: str, hint: str | None = None) -> web.Response:
    """`detail` says what happened this time, `hint` what to do; both are shown to the caller."""
    told = Problem(type="about:blank", title=title, status=status, detail=detail, hint=hint or msgspec.UNSET)
    return web.Response(body=msgspec.json.encode(told), status=status, content_type="application/problem+json")


def unauthorized(error: CredentialRefused) -> web.Response:
    """401 with the `WWW-Authenticate` that RFC 9110 asks for."""
    response = problem(401, "Credential refused", str(error), "send Authorization: Bearer <service token>")
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


class _Unheard(web.Response):
    """For a client that has gone, or whose answer has begun: nothing more is sent, and the connection is closed.

    A second head would be read as the first one's content, and a compressed stream would be ended twice.
    """

    async def prepare(self, request: web.BaseRequest) -> None:
        """Raises: ConnectionResetError, by which aiohttp closes the connection."""
        raise ConnectionResetError("there is nobody to answer")


async def note_begun(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare` of an application with `problems`: from here on there is no other answer."""
    request[_BEGUN] = True


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every error into one clear answer; only the unforeseen is logged with its stack."""
    try:
        return await handler(request)
    except ConnectionError:
        return _Unheard(status=400)  # the client has gone
    except Exception as error:
        answer = _told(request, error)
    if _BEGUN not in request:
        return answer
    if request.transport is not None:
        request.transport.abort()  # by which who reads it sees that it is not whole
    return _Unheard(status=answer.status)


def _told(request: web.Request, failed: Exception) -> web.Response:
    match failed:
        case SessionError() as error:
            status = error.status if isinstance(error, RefusedThere) else STATUS[type(error)]
            answer = problem(status, error.title, str(error), error.hint)
            if isinstance(error, CredentialNeeded):
                answer.headers["WWW-Authenticate"] = "Bearer"
            if error.retry_after_s is not None:
                answer.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
            return answer
        case Forbidden() as error:
            return problem(403, "Forbidden", str(error))
        case CredentialRefused() as error:
            return unauthorized(error)
        case WebhookRefused() as error:
            hint = "webhook.api_key of the LiveKit server must be LIVEKIT_API_KEY"
            return problem(401, "Webhook refused", str(error), hint)
        case RoomsUnavailable() as error:
            return problem(503, "LiveKit unavailable", str(error))
        case NotAdmitted() as error:
            answer = problem(429 if error.code is CloseCode.TOO_MANY else 503, "No place now", str(error))
            answer.headers["Retry-After"] = "5"
            return answer
        case BlobsUnavailable() as error:
            log.warning("blob store: %s", error)
            return problem(503, "Blob store unavailable", "the store of documents does not answer", "try again later")
        case RecordsUnavailable() as error:
            log.warning("database: %s", error)
            answer = problem(503, "Database unavailable", "the database does not answer", "try again in a few seconds")
            answer.headers["Retry-After"] = "2"
            return answer
        case web.HTTPException() as error:
            return _refusal(error)
        case web.RequestPayloadError():
            return problem(400, "Invalid request", "the body is not encoded as its headers say")
    log.error("request failed", exc_info=failed, extra={"method": request.method, "path": request.path})
    return problem(500, "Internal error", "the gateway failed; its log has the details")


def _refusal(error: web.HTTPException) -> web.Response:
    if error.status < 400:
        raise error
    answer = problem(error.status, error.reason, error.text or error.reason)
    for name in ("Allow", "Upgrade", "Sec-WebSocket-Version"):  # they say what would do
        if name in error.headers:
            answer.headers[name] = error.headers[name]
    return answer
