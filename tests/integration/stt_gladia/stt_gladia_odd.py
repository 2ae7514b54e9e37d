"""Every kind of message that the provider sends, and the same with one place changed. Seeded."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

BYTES_PER_S = 32_000
Path = tuple[str | int, ...]


def utterance(text: str, start: float, end: float) -> dict[str, Any]:
    parts = text.split()
    step = (end - start) / len(parts)
    words = [
        {"word": f" {part}", "start": start + i * step, "end": start + (i + 0.9) * step, "confidence": 0.9}
        for i, part in enumerate(parts)
    ]
    return {
        "text": f" {text}", "start": start, "end": end, "language": "en", "confidence": 0.9, "channel": 0,
        "words": words,
    }  # fmt: skip


def message(kind: str, data: Any = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, "session_id": "s", "created_at": "2026-01-01T00:00:00.000Z", "data": data, **more}


def transcript(number: int, said: dict[str, Any], *, final: bool = True) -> dict[str, Any]:
    return message("transcript", {"id": f"00_{number:08d}", "is_final": final, "utterance": said})


FIRST, SECOND = utterance("the first is fine", 0.5, 2.0), utterance("the second is fine too", 3.0, 5.0)
_ADD_ON = {"utterance_id": "00_00000000", "utterance": FIRST}
SAID: list[tuple[float, dict[str, Any]]] = [
    (0.0, message("start_recording")),
    (0.5, message("speech_start", {"time": 0.5, "channel": 0})),
    (1.0, transcript(0, FIRST, final=False)),
    (2.1, message("speech_end", {"time": 2.0, "channel": 0})),
    (2.2, transcript(0, FIRST)),
    (2.3, message("translation", {**_ADD_ON, "original_language": "en", "target_language": "fr",
                                  "translated_utterance": utterance("le premier", 0.5, 2.0)}, error=None)),
    (2.4, message("named_entity_recognition", {**_ADD_ON, "results": [
        {"entity_type": "ORDINAL", "text": "first", "start": 0.8, "end": 1.2}]}, error=None)),
    (2.5, message("sentiment_analysis", {**_ADD_ON, "results": [
        {"sentiment": "positive", "emotion": "joy", "text": "x", "start": 0.5, "end": 2.0, "channel": 0}]})),
    (2.6, message("error", {"code": "internal_error", "message": "for a moment"})),
    (2.7, message("audio_chunk", {"byte_range": [0, 6400], "time_range": [0, 0.2]}, acknowledged=True, error=None)),
    (5.2, transcript(1, SECOND)),
]  # fmt: skip
FINALS = [4, 10]
ENDING: list[dict[str, Any]] = [
    message("stop_recording", {"recording_duration": 6, "recording_left_to_process": 0}, acknowledged=True, error=None),
    message("end_recording", {"recording_duration": 6}),
    message("post_transcript", {"full_transcript": "", "languages": ["en"], "utterances": [FIRST, SECOND]}),
    message("post_final_transcript", {
        "metadata": {"audio_duration": 6.0, "billing_time": 6.0, "number_of_distinct_channels": 1},
        "transcription": {"full_transcript": "", "languages": ["en"], "utterances": [FIRST, SECOND]}}),
    message("end_session"),
]  # fmt: skip

# What stands in its place: a value, or JSON that no encoder writes.
_RAW = {"@NaN": "NaN", "@huge": "9" * 400, "@inf": "1e999", "@deep": "[" * 90_000 + "]" * 90_000,
        "@half": '"a\\ud800b"',
        "@nul": '"a\\u0000b"', "@control": '"a\x01b"'}  # fmt: skip
GONE = "@gone"
ODD: list[Any] = [None, True, -1, 1e308, -1e308, 10**30, "", "x", "0.5", [], {}, [None], {"a": None}, GONE, *_RAW]


@dataclass(frozen=True)
class Play:
    """What a speaker's provider says. `case` names the change."""

    said: list[tuple[float, str]] = field(default_factory=list)
    ending: list[str] = field(default_factory=list)
    case: str = "as documented"
    keeps: frozenset[str] = frozenset({"the first is fine", "the second is fine too"})
    """Finals that can be read whatever was changed."""


def text_of(told: Any) -> str:
    text = json.dumps(told)
    for name, raw in _RAW.items():
        text = text.replace(json.dumps(name), raw)
    return text


def places(tree: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def changed(tree: Any, path: Path, value: Any) -> Any:
    made = deepcopy(tree)
    inside = made
    for key in path[:-1]:
        inside = inside[key]
    if value == GONE and isinstance(value, str):
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return made


def play(said: list[tuple[float, Any]], ending: list[Any], case: str, keeps: frozenset[str] | None = None) -> Play:
    texts = [(at, text_of(one)) for at, one in said], [text_of(one) for one in ending]
    return Play(*texts, case) if keeps is None else Play(*texts, case, keeps)


PLAIN = play(SAID, ENDING, "as documented")
NOTHING = play(
    [], [message("stop_recording", {}, acknowledged=True), message("end_session")], "another session", frozenset()
)
"""Of a session that takes over where another one had heard everything."""
# Without these a final says nothing, or is none.
_ESSENTIAL = {("type",), ("data",), ("data", "is_final"), ("data", "utterance"), ("data", "utterance", "text")}


def changes() -> list[tuple[int, Path, Any]]:
    """Message by its place in SAID and ENDING together, place in it, value."""
    told = [one for _, one in SAID] + ENDING
    return [(n, path, value) for n, one in enumerate(told) for path in places(one) for value in ODD]


def with_change(n: int, path: Path, value: Any) -> Play:
    told = [one for _, one in SAID] + ENDING
    case = f"{told[n]['type']} {'.'.join(map(str, path))} = {value!r}"
    told[n] = changed(told[n], path, value)
    data = told[n].get("data")
    if n in FINALS and path not in _ESSENTIAL and isinstance(data, dict):  # the result tells the same, just as oddly
        place = ("data", "transcription", "utterances", FINALS.index(n))
        told[len(SAID) + 3] = changed(told[len(SAID) + 3], place, data["utterance"])
    keeps = set(PLAIN.keeps)
    if path in _ESSENTIAL and n in FINALS:
        keeps.discard("the first is fine" if n == FINALS[0] else "the second is fine too")
    moments = [at for at, _ in SAID]
    return play(list(zip(moments, told, strict=False)), told[len(SAID) :], case, frozenset(keeps))


def shuffled(seed: int) -> Play:
    """Other orders, and each message perhaps twice, once all the audio is there."""
    dice = random.Random(seed)
    told = [one for _, one in SAID for _ in range(dice.choice((1, 1, 2, 3)))]
    dice.shuffle(told)
    moments = sorted(dice.uniform(5.2, 5.9) for _ in told)
    return play(list(zip(moments, told, strict=True)), ENDING, f"order {seed}")


class OddProvider:
    """A server in the shape of Gladia Live v2. `plays`: by the identity in a session's metadata."""

    def __init__(self) -> None:
        self.plays: dict[str, Play] = {}
        self._heard: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self.app = web.Application()
        self.app.router.add_post("/v2/live", self._post)
        self.app.router.add_get("/v2/live", self._live)
        self.app.router.add_route("*", "/v2/live/{id}", self._rest)

    async def _post(self, request: web.Request) -> web.Response:
        labels = (await request.json())["custom_metadata"]
        number = sum(key.startswith(labels["identity"] + "!") for key in self._heard)
        key = f"{labels['identity']}!{number}"
        self._heard[key] = self._told[key] = 0
        return web.json_response({"id": key, "url": f"ws://{request.host}/v2/live?token={key}"}, status=201)

    async def _rest(self, request: web.Request) -> web.Response:
        return web.json_response({"message": "unknown"}, status=404)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("token")
        if key is None:
            return web.json_response({"items": [], "next": None})
        told = self.plays[key.split("!")[0]] if key.endswith("!0") else NOTHING
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for came in socket:
            if came.type is WSMsgType.BINARY:
                begin, end = self._heard[key], self._heard[key] + len(came.data)
                self._heard[key] = end
                await socket.send_json(message("audio_chunk", {"byte_range": [begin, end]}, acknowledged=True))
                while self._told[key] < len(told.said) and told.said[self._told[key]][0] <= end / BYTES_PER_S:
                    self._told[key] += 1
                    await socket.send_str(told.said[self._told[key] - 1][1])
            elif "stop_recording" in came.data:
                for one in told.ending:
                    await socket.send_str(one)
                await socket.close()
        return socket
