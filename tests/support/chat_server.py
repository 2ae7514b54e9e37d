"""A chat endpoint with OpenAI's protocol whose answers a test writes; strict about what it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jsonschema
from aiohttp import web

KEY = "sk-of-the-chat-server"
MODEL = "a-model"
GOOD: dict[str, Any] = {
    "summary": "They agreed to ship on Friday.",
    "tasks": [{"title": "Check the backups", "assignee": "Anna", "dueDate": "2026-01-09", "line": 1}],
    "risks": [{"title": "The migration is slow", "severity": "high", "mitigation": None, "line": 2}],
}


def says(content: Any, *, refusal: str | None = None, finish_reason: str = "stop") -> dict[str, Any]:
    """A chat completion; anything but text becomes JSON."""
    text = content if isinstance(content, str | None) else json.dumps(content)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_767_600_000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": refusal},
                "finish_reason": finish_reason,
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def refuses(status: int, message: str, **headers: str) -> web.Response:
    error = {"error": {"message": message, "type": "error", "param": None, "code": None}}
    return web.json_response(error, status=status, headers=headers)


@dataclass
class ChatServer:
    """Answers with `script`, one after the other, the last one again and again. `asked`: the bodies, in order."""

    url: str = ""
    script: list[Any] = field(default_factory=lambda: [says(GOOD)])
    asked: list[dict[str, Any]] = field(default_factory=list)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while a request is kept waiting (`"hang"` in the script)."""
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def models(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return refuses(401, "Incorrect API key provided.")
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return refuses(401, "Incorrect API key provided.")
        body = await request.json()
        if problem := _problem(body):
            return refuses(400, problem)
        self.asked.append(body)
        step = self.script[min(len(self.asked), len(self.script)) - 1]
        if callable(step):
            step = step(body)
        if step == "hang":
            self.hanging.set()
            await self.release.wait()
            step = says(GOOD)
        if step == "cut":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return step if isinstance(step, web.StreamResponse) else web.json_response(step)

    def told(self, number: int = 0) -> str:
        """All that was said in a request, as the model sees it."""
        return "\n".join(message["content"] for message in self.asked[number]["messages"])


def _problem(body: dict[str, Any]) -> str | None:
    """What a strict server would refuse."""
    if set(body) != {"model", "messages", "response_format"} or body["model"] != MODEL:
        return f"The model `{body.get('model')}` does not exist."
    if not all(set(message) == {"role", "content"} for message in body["messages"]):
        return "Invalid messages."
    wanted = body["response_format"]["json_schema"]
    if body["response_format"]["type"] != "json_schema" or wanted["strict"] is not True:
        return "Invalid response_format."
    jsonschema.Draft202012Validator.check_schema(wanted["schema"])
    return _loose(wanted["schema"])


def _loose(schema: dict[str, Any]) -> str | None:
    """The rules of strict structured output: every object closed, every property required, a type everywhere."""
    if "type" not in schema:
        return "schema must have a 'type' key"
    if schema["type"] == "object":
        if schema.get("additionalProperties") is not False or schema["required"] != list(schema["properties"]):
            return "'additionalProperties' must be false and every property required"
        return next(filter(None, map(_loose, schema["properties"].values())), None)
    return _loose(schema["items"]) if schema["type"] == "array" else None


@asynccontextmanager
async def chat_server(*script: Any) -> AsyncIterator[ChatServer]:
    server = ChatServer(script=list(script) or [says(GOOD)])
    app = web.Application(client_max_size=50_000_000)
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        server.release.set()
        await runner.cleanup()
