"""The OpenAPI 3.1 document, made from the same table that routes the requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiohttp import web

from gateway.api.errors import Problem
from gateway.webhooks.events import envelope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    place: Literal["path", "query", "header"]
    meaning: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: how it is routed, who may call it, and what the document says of it.

    `credential`: "service" (a service token), "watch" (anything the stream accepts), "user" (that too, in the header),
    "guest" (the same or none at all), "livekit" (a LiveKit server's signature) or None. The handler checks all but the
    first.
    `audit`: under which word a success is kept in the audit log; empty: it is not.
    `answers`: status → type of the body, or None for none. `files`: other media types that 200 may have.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    credential: Literal["service", "watch", "user", "guest", "livekit"] | None = "service"
    body: type | None = None
    needs_body: bool = True
    answers: Mapping[int, type | None] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    tag: str = "transcription"
    audit: str = ""


def document(
    routes: Iterable[Route], version: str, server: str, events: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """The whole document as plain JSON values. `events`: what is sent to webhooks, name → type of its data."""
    told = events or {}
    routes = list(routes)
    types = [route.body for route in routes if route.body]
    types += [kind for route in routes for kind in route.answers.values() if kind is not None]
    types += told.values()
    unique = [kind for kind in dict.fromkeys([*types, Problem]) if kind is not dict]
    references, components = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(unique, references, strict=True))
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Transcription gateway",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Start and stop transcriptions, follow them live, read and export what was said, "
            "and see what it cost. Errors are RFC 9457 problem details.",
        },
        "servers": [{"url": server}],
        "paths": paths,
        "webhooks": {name: {"post": _event(name, schema_of[kind])} for name, kind in told.items()},
        "components": {
            "schemas": components,
            "securitySchemes": {
                "service": {"type": "http", "scheme": "bearer", "description": "a token of GATEWAY_API_TOKENS"},
                "watch": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a service token, a user JWT, or the LiveKit access token of the session's room; "
                    "streams also take `?token=` and the subprotocol pair `transcript.v1, bearer.<token>`",
                },
                "user": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "a service token, a user JWT (`sub`, `spaces`, `activeSpaceId`), or the LiveKit "
                    "access token of the session's room; docs/sessions.md says who may do what",
                },
                "livekit": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "a JWT of the LiveKit server over the body's SHA-256",
                },
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    answers: dict[str, Any] = {str(status): _answer(status, kind) for status, kind in route.answers.items()}
    for media in route.files:
        answers["200"].setdefault("content", {})[media] = {"schema": {"type": "string"}}
    if route.credential is not None:
        answers.setdefault("401", _answer(401, Problem))
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}{_camel(route.path)}",
        "tags": [route.tag],
        "responses": dict(sorted(answers.items())),
        "security": _security(route),
    }
    if route.parameters:
        operation["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.place == "path",
                "description": parameter.meaning,
                "schema": dict(parameter.schema),
            }
            for parameter in route.parameters
        ]
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.needs_body,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.body.__name__}"}}},
        }
    return operation


def _event(name: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": f"{name}, sent to the webhooks that ask for it (docs/webhooks.md)",
        "operationId": f"event{_camel(name.replace('.', '/'))}",
        "tags": ["webhooks"],
        "security": [],
        "requestBody": {"required": True, "content": {"application/json": {"schema": envelope(name, data)}}},
        "responses": {"2XX": {"description": "taken"}, "410": {"description": "switches the webhook off"}},
    }


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.credential == "guest":
        return [{"user": []}, {}]
    return [{route.credential: []}] if route.credential else []


def _answer(status: int, kind: type | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": web.Response(status=status).reason or str(status)}
    if kind is not None:
        media = "application/problem+json" if kind is Problem else "application/json"
        schema = {"type": "object"} if kind is dict else {"$ref": f"#/components/schemas/{kind.__name__}"}
        answer["content"] = {media: {"schema": schema}}
    return answer


def _camel(path: str) -> str:
    parts = path.replace("{", "").replace("}", "").replace(".", "/").replace("-", "/").split("/")
    return "".join(part[:1].upper() + part[1:] for part in parts if part)
