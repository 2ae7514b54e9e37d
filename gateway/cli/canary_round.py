"""One round of `gateway canary`: a session of its own, a known sentence spoken into it in real time, what came back."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from importlib.resources import as_file, files
from typing import Any, Final, Literal, TypeAlias, TypeVar

import aiohttp

from gateway.cli.client import Client
from gateway.cli.errors import ApiRefused
from gateway.cli.request import quoted
from gateway.sound import read_sound

T = TypeVar("T")
Step: TypeAlias = Literal["create", "start", "watch", "speak", "stop", "words", "end", "delete"]
STEPS: Final[tuple[Step, ...]] = ("create", "start", "watch", "speak", "stop", "words", "end", "delete")
TAG: Final = "canary"
"""Of its transcriptions, so that a bill can leave them out."""
RATE: Final = 16_000
SAID: Final = ("good", "morning", "everyone", "and", "welcome", "to", "the", "meeting")
"""The first sentence of the bundled sample."""
STEP_S: Final = 30.0
_CHUNK: Final = RATE // 10 * 2
_CHUNK_S: Final = 0.1
_PATIENCE_S: Final = 5.0
"""For the last final, before the stop asks for it."""
_REASONS: Final = (ApiRefused, aiohttp.ClientError, TimeoutError, OSError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Sentence:
    """`pcm`: s16le, one channel, at RATE. The words lie between `begins_s` and `ends_s`; silence follows."""

    pcm: bytes = field(repr=False)
    begins_s: float
    ends_s: float
    words: Sequence[str]


def known_sentence() -> Sentence:
    """SAID, three seconds of it."""
    with as_file(files("gateway.cli").joinpath("sample.flac")) as sample:
        pcm = read_sound(sample, RATE, 0.7, 3.8, tail_s=1.5)
    return Sentence(pcm, 0.2, 3.0, SAID)


def share_found(said: Sequence[str], heard: str) -> float:
    """Of the words said, those heard in their order, whatever is between; 0 to 1."""
    words = re.findall(r"[\w']+", heard.lower())
    blocks = SequenceMatcher(None, list(said), words, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(said)


class StepFailed(Exception):
    """The text says why."""


@dataclass(slots=True)
class Outcome:
    """Times in seconds. `first_partial_s`: from the first word to the first text. `final_s`: from the end of the last
    word to the last final. `words_share`: None while nothing was spoken."""

    steps: dict[Step, float] = field(default_factory=dict)
    failed: Step | None = None
    why: str = ""
    first_partial_s: float | None = None
    final_s: float | None = None
    words_share: float | None = None


class Round:
    """Used once. `least`: share of the words that has to come back. `tell`: called with each step that is done, and
    how long it took."""

    def __init__(
        self, client: Client, sentence: Sentence, least: float, tell: Callable[[Step, float], None] = lambda *_: None
    ) -> None:
        self.outcome = Outcome()
        self._client = client
        self._sentence = sentence
        self._least = least
        self._tell = tell
        self._watches = asyncio.Event()
        self._news = asyncio.Event()
        self._first_at: float | None = None
        self._last_at: float | None = None
        self._texts: list[str] = []

    async def run(self) -> Outcome:
        """Every step until one fails; what was created is deleted in any case. Raises nothing but CancelledError."""
        with suppress(StepFailed):
            with self._step("create"):
                slug = (await self._call("POST", "/api/sessions", {"title": "Canary"}))["slug"]
            path = f"/api/sessions/{quoted(slug)}"
            try:
                await self._transcribe(slug)
                with self._step("end"):
                    await self._call("POST", f"{path}/end", {})
            finally:
                with self._step("delete"):
                    await self._call("DELETE", path)
        return self.outcome

    async def _transcribe(self, slug: str) -> None:
        with self._step("start"):
            body = {"sessionSlug": slug, "source": "websocket", "language": "en", "tags": [TAG]}
            await self._call("POST", "/api/transcription/start", body)
        async with self._watching(slug):
            with self._step("speak"):
                began = await self._within(self._speak(slug), len(self._sentence.pcm) / RATE / 2 + STEP_S)
                with suppress(TimeoutError):
                    await self._within(self._all_heard(), _PATIENCE_S)
            with self._step("stop"):
                stopped = await self._call("POST", "/api/transcription/stop", {"sessionSlug": slug})
                if not stopped["finalsComplete"]:
                    raise ValueError("finals may be missing: a provider session has not confirmed its end")
            with self._step("words"):
                await self._within(self._until_stopped(), STEP_S)
                self._judge(began)

    def _judge(self, began: float) -> None:
        sentence, outcome = self._sentence, self.outcome
        outcome.words_share = self._share
        if self._first_at is not None:
            outcome.first_partial_s = max(0.0, self._first_at - began - sentence.begins_s)
        if self._last_at is not None:
            outcome.final_s = max(0.0, self._last_at - began - sentence.ends_s)
        if outcome.words_share < self._least:
            raise ValueError(f"{outcome.words_share:.0%} of the words came back, {self._least:.0%} are expected")

    @property
    def _share(self) -> float:
        return share_found(self._sentence.words, " ".join(self._texts))

    # --- the stream ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _watching(self, slug: str) -> AsyncIterator[None]:
        self._listening = asyncio.create_task(self._listen(slug), name="canary watches")
        try:
            with self._step("watch"):
                begun = asyncio.create_task(self._watches.wait(), name="canary is told")
                await asyncio.wait({begun, self._listening}, timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED)
                begun.cancel()
                if self._listening.done():
                    self._listening.result()
                if not self._watches.is_set():
                    raise TimeoutError
            yield
        finally:
            self._listening.cancel()
            await asyncio.wait({self._listening})

    async def _listen(self, slug: str) -> None:
        async for message in self._client.follow(slug):
            self._watches.set()
            told: Any = message
            if told["type"] in ("transcript.partial", "transcript.final") and told["data"]["text"]:
                self._first_at = self._first_at or time.monotonic()
                if told["type"] == "transcript.final":
                    self._last_at = time.monotonic()
                    self._texts.append(told["data"]["text"])
                    self._news.set()

    async def _all_heard(self) -> None:
        while self._share < 1.0:
            self._news.clear()
            await self._news.wait()

    async def _until_stopped(self) -> None:
        await asyncio.shield(self._listening)

    # --- to the gateway -----------------------------------------------------------------------------------

    async def _speak(self, slug: str) -> float:
        """As a microphone does: each chunk when it would have been recorded. Returns: when it began, monotonic."""
        url = f"{self._client.url.rstrip('/')}/api/realtime/audio"
        headers = {"Authorization": f"Bearer {self._client.token}"}
        pcm = self._sentence.pcm
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.ws_connect(url, params={"session": slug}) as socket,
        ):
            await socket.send_json({"type": "start", "sampleRate": RATE, "channels": 1})
            ready = json.loads(await socket.receive_str())
            if ready["type"] != "ready":
                raise ValueError("the gateway takes no audio")
            began = time.monotonic()
            for number, at in enumerate(range(0, len(pcm), _CHUNK), 1):
                await asyncio.sleep(max(0.0, began + number * _CHUNK_S - time.monotonic()))
                await socket.send_bytes(pcm[at : at + _CHUNK])
            await socket.send_json({"type": "stop"})
            async for _ in socket:
                pass
            if socket.close_code != aiohttp.WSCloseCode.OK:
                raise ValueError(f"the gateway has closed the audio with {socket.close_code}")
        return began

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return await self._within(self._client.call(method, path, body), STEP_S)

    async def _within(self, work: Awaitable[T], seconds: float) -> T:
        async with asyncio.timeout(seconds):
            return await work

    @contextmanager
    def _step(self, name: Step) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except _REASONS as error:
            if self.outcome.failed is None:
                is_late = isinstance(error, TimeoutError) and not str(error)
                self.outcome.failed = name
                self.outcome.why = f"not done within {STEP_S:g} s" if is_late else str(error) or type(error).__name__
            raise StepFailed from error
        self.outcome.steps[name] = time.monotonic() - began
        self._tell(name, self.outcome.steps[name])
