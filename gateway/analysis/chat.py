"""A chat endpoint as OpenAI defined it and many serve it: one question, one answer in a given JSON schema."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import msgspec

from gateway.analysis.analyse import AnalysisImpossible, AnalysisTrouble
from gateway.analysis.rules import one_line
from gateway.reading import NotJson, read_json
from stt.backoff import Backoff

_ANSWER_LIMIT: Final = 2_000_000
_MESSAGE_LIMIT: Final = 300
_LONGEST_WAIT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """`url`: the base, with its version, for example https://api.openai.com/v1. `key`: None where none is asked for."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0
    tries: int = 4
    longest_pause_s: float = 60.0
    """A server that asks for more patience gets the job back in the queue instead."""
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=1.0, ceiling_s=20.0))


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Again(Exception):
    """This request may succeed if it is repeated."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Chat:
    """One endpoint and model. Use `open_chat`."""

    def __init__(self, options: ChatOptions, http: aiohttp.ClientSession) -> None:
        self._options = options
        self._http = http

    async def ask(self, messages: Sequence[Mapping[str, str]], name: str, schema: Mapping[str, Any]) -> str:
        """The text of the answer; whether it fits the schema is not checked here.

        Raises: AnalysisTrouble when trying later may help; AnalysisImpossible when it cannot.
        """
        body = {
            "model": self._options.model,
            "messages": list(messages),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": name, "strict": True, "schema": schema},
            },
        }
        attempt = 1
        while True:
            try:
                return await self._ask(json.dumps(body).encode())
            except _Again as trouble:
                pause = self._options.backoff.delay(attempt, random.random())  # noqa: S311 - jitter
                if trouble.after_s is not None:
                    pause = max(pause, trouble.after_s)
                if attempt >= self._options.tries or pause > self._options.longest_pause_s:
                    raise AnalysisTrouble(str(trouble), retry_after_s=trouble.after_s) from None
            attempt += 1
            await asyncio.sleep(pause)

    async def check(self) -> str:
        """Ask whether the server takes the key and knows the model; nothing is paid for.

        Returns: what to know. Raises: AnalysisTrouble, AnalysisImpossible.
        """
        try:
            told = await self._request("GET", "/models")
            known = {model["id"] for model in read_json(told)["data"]}
        except _Again as trouble:
            raise AnalysisTrouble(str(trouble)) from None
        except (ValueError, KeyError, TypeError):
            return f"{self._options.url} answers, but does not list its models"
        if self._options.model not in known:
            raise AnalysisImpossible(
                f"{self._options.url} has no model {self._options.model!r}; correct GATEWAY_ANALYSIS_MODEL"
            )
        return f"{self._options.url} accepts the key and has {self._options.model}"

    async def _ask(self, body: bytes) -> str:
        told = await self._request("POST", "/chat/completions", body)
        try:
            completion = read_json(told, _Completion)
        except NotJson:
            raise AnalysisImpossible(
                "the server's answer is no chat completion; GATEWAY_ANALYSIS_URL is the part before /chat/completions"
            ) from None
        return _text(completion)

    async def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Raises: _Again, AnalysisImpossible."""
        headers = {"Content-Type": "application/json"} if body else {}
        if self._options.key:
            headers["Authorization"] = f"Bearer {self._options.key}"
        try:
            async with self._http.request(
                method, self._options.url + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                told = await _bounded(response.content.iter_any())
                _check(response, told)
                return told
        except TimeoutError:
            raise _Again(f"the model did not answer within {self._options.timeout_s:g} s") from None
        except aiohttp.ClientError as error:
            raise _Again(f"the model's server cannot be reached ({type(error).__name__})") from error


@asynccontextmanager
async def open_chat(options: ChatOptions) -> AsyncIterator[Chat]:
    """Requests are made inside the block, each within `timeout_s`. Nothing is asked of the server yet."""
    timeout = aiohttp.ClientTimeout(total=options.timeout_s, connect=min(10.0, options.timeout_s))
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Chat(options, http)


async def _bounded(pieces: AsyncIterator[bytes]) -> bytes:
    told = bytearray()
    async for piece in pieces:
        told += piece
        if len(told) > _ANSWER_LIMIT:
            raise AnalysisImpossible(f"the model's answer is larger than {_ANSWER_LIMIT:,} bytes")
    return bytes(told)


def _check(response: aiohttp.ClientResponse, told: bytes) -> None:
    status = response.status
    if status == 200:
        return
    reason = f"the model's server answered {status}{_message(told)}"
    if status in (408, 409, 425, 429) or status >= 500:
        if b"insufficient_quota" in told:  # OpenAI says 429 for this too, and waiting does not help
            raise AnalysisImpossible(reason)
        raise _Again(reason, _retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))
    hint = {
        401: "; check GATEWAY_ANALYSIS_KEY",
        403: "; check GATEWAY_ANALYSIS_KEY",
        404: "; check GATEWAY_ANALYSIS_URL and GATEWAY_ANALYSIS_MODEL",
        413: "; lower GATEWAY_ANALYSIS_PART_CHARACTERS",
    }.get(status, "")
    raise AnalysisImpossible(reason + hint)


def _message(told: bytes) -> str:
    """What the server says is wrong, shortened; most say it as OpenAI does."""
    try:
        error = read_json(told)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {one_line(message, _MESSAGE_LIMIT)}" if isinstance(message, str) and message else ""


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds, at most an hour. RFC 9110: a whole number of them, or a date."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text := value.strip()):
        return min(float(text), _LONGEST_WAIT_S)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return min(max((moment - now).total_seconds(), 0.0), _LONGEST_WAIT_S) if moment.tzinfo else None


def _text(completion: _Completion) -> str:
    if not completion.choices:
        raise _Again("the model gave no answer")
    choice = completion.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise AnalysisImpossible("the model refuses to analyse this session")
    if choice.finish_reason == "length":
        raise AnalysisImpossible(
            "the model's answer was cut off at its limit of tokens; lower GATEWAY_ANALYSIS_PART_CHARACTERS, "
            "or choose a model with more room"
        )
    return choice.message.content or ""
