"""The body of `POST /v2/live`: what is allowed in it, and what it asks for.

Fields, ranges and defaults are those of the provider's OpenAPI document of 2026-08-23 (`StreamingRequest`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

_CODES: Final = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu "
    "hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro "
    "ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh"
)
LANGUAGES: Final = frozenset(_CODES.split())
TARGETS: Final = LANGUAGES | {"wo"}
REGIONS: Final = ("us-west", "eu-west")
METADATA_LIMIT: Final = 2000  # characters of JSON text

Problem: TypeAlias = str
Check: TypeAlias = Callable[[str, Any], list[Problem]]


@dataclass(frozen=True, slots=True)
class Wants:
    """Which messages a receiver asked for, by class of message."""

    partials: bool
    finals: bool
    speech: bool
    pre_processing: bool
    realtime: bool
    post_processing: bool
    acknowledgments: bool
    errors: bool
    lifecycle: bool


_SWITCHES: Final = (
    ("partials", "receive_partial_transcripts", False, False),
    ("finals", "receive_final_transcripts", True, True),
    ("speech", "receive_speech_events", True, False),
    ("pre_processing", "receive_pre_processing_events", True, True),
    ("realtime", "receive_realtime_processing_events", True, True),
    ("post_processing", "receive_post_processing_events", True, True),
    ("acknowledgments", "receive_acknowledgments", True, False),
    ("errors", "receive_errors", True, False),
    ("lifecycle", "receive_lifecycle_events", False, True),
)


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """One accepted request. Times in seconds; `sample_bytes` is per sample and channel."""

    encoding: str = "wav/pcm"
    sample_bytes: int = 2
    sample_rate: int = 16_000
    channels: int = 1
    endpointing_s: float = 0.05
    longest_s: float = 5.0
    languages: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    entities: bool = False
    sentiment: bool = False
    summary: str | None = None
    socket: Wants = field(default_factory=lambda: _wants({}, callback=False))
    callback: Wants = field(default_factory=lambda: _wants({}, callback=True))
    callback_url: str | None = None
    region: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def byte_rate(self) -> int:
        """Bytes of one second of audio as it arrives."""
        return self.sample_rate * self.channels * self.sample_bytes


class BadRequest(Exception):
    """The body breaks the rules; `problems` goes to the client as `validation_errors`."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def parse_request(body: Any, *, engine: str, languages: frozenset[str] | None) -> tuple[SessionConfig, tuple[str, ...]]:
    """Check a decoded body. `languages`: what the engine understands, None for any.

    Returns: the configuration, and the paths of unknown fields, which are ignored as the provider ignores them.
    Raises: BadRequest with every problem found.
    """
    if not isinstance(body, dict):
        raise BadRequest(["the body must be a JSON object"])
    problems: list[Problem] = []
    unknown: list[str] = []
    if "region" in body:
        problems.append("region must be given in the query string (?region=eu-west), not in the body")
    _walk(body, _FIELDS, "", problems, unknown)
    if languages is not None:
        problems += [
            f"language_config.languages: the local engine {engine} understands "
            f"{', '.join(sorted(languages))} only, not {code}"
            for code in _spoken(body)
            if code in LANGUAGES and code not in languages
        ]
    if problems:
        raise BadRequest(problems)
    return _config(body), tuple(name for name in unknown if name != "region")


def _config(body: dict[str, Any]) -> SessionConfig:
    """Read a body that passed every check."""
    encoding = body.get("encoding", "wav/pcm")
    realtime = body.get("realtime_processing") or {}
    post = body.get("post_processing") or {}
    callback = body.get("callback_config") or {}
    translation = realtime.get("translation_config") or {}
    return SessionConfig(
        encoding=encoding,
        sample_bytes=body.get("bit_depth", 16) // 8 if encoding == "wav/pcm" else 1,
        sample_rate=body.get("sample_rate", 16_000),
        channels=body.get("channels", 1),
        endpointing_s=float(body.get("endpointing", 0.05)),
        longest_s=float(body.get("maximum_duration_without_endpointing", 5)),
        languages=tuple(_spoken(body)),
        targets=tuple(translation.get("target_languages", ())) if realtime.get("translation") else (),
        entities=bool(realtime.get("named_entity_recognition")),
        sentiment=bool(realtime.get("sentiment_analysis")),
        summary=(post.get("summarization_config") or {}).get("type", "general") if post.get("summarization") else None,
        socket=_wants(body.get("messages_config") or {}, callback=False),
        callback=_wants(callback, callback=True),
        callback_url=callback.get("url") if body.get("callback") else None,
        metadata=body.get("custom_metadata") or {},
        params={key: value for key, value in body.items() if key != "custom_metadata"},
    )


def _wants(given: Mapping[str, Any], *, callback: bool) -> Wants:
    return Wants(
        **{
            name: given.get(wire, for_callback if callback else for_socket)
            for name, wire, for_socket, for_callback in _SWITCHES
        }
    )


def _spoken(body: Mapping[str, Any]) -> list[str]:
    languages = body.get("language_config")
    codes = languages.get("languages") if isinstance(languages, dict) else None
    return [code for code in codes if isinstance(code, str)] if isinstance(codes, list) else []


# --- checks -----------------------------------------------------------------------------------------------------


def _one_of(*allowed: object) -> Check:
    listed = ", ".join(map(str, allowed))

    def check(path: str, value: Any) -> list[Problem]:
        # True == 1, but a boolean is never one of the numbers.
        good = not isinstance(value, bool) and value in allowed
        return [] if good else [f"{path} must be one of the following values: {listed}"]

    return check


def _number(low: float, high: float, *, whole: bool = False) -> Check:
    kinds = (int,) if whole else (int, float)
    noun = "an integer" if whole else "a number"

    def check(path: str, value: Any) -> list[Problem]:
        if isinstance(value, bool) or not isinstance(value, kinds):
            return [f"{path} must be {noun}"]
        if not low <= value <= high:
            return [f"{path} must be between {low:g} and {high:g}"]
        return []

    return check


def _boolean(path: str, value: Any) -> list[Problem]:
    return [] if isinstance(value, bool) else [f"{path} must be a boolean"]


def _string(path: str, value: Any) -> list[Problem]:
    return [] if isinstance(value, str) else [f"{path} must be a string"]


def _url(path: str, value: Any) -> list[Problem]:
    good = isinstance(value, str) and value.startswith(("http://", "https://"))
    return [] if good else [f"{path} must be an http(s) URL"]


def _model(path: str, value: Any) -> list[Problem]:
    return _one_of("solaria-1")(path, value)


def _metadata(path: str, value: Any) -> list[Problem]:
    if not isinstance(value, dict):
        return [f"{path} must be an object"]
    size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
    return [] if size <= METADATA_LIMIT else [f"{path} must be at most {METADATA_LIMIT} characters of JSON"]


def _each(check: Check, *, least: int = 0) -> Check:
    def every(path: str, value: Any) -> list[Problem]:
        if not isinstance(value, list):
            return [f"{path} must be an array"]
        if len(value) < least:
            return [f"{path} must contain at least {least} element"]
        return [problem for i, item in enumerate(value) for problem in check(f"{path}.{i}", item)]

    return every


def _language(codes: frozenset[str]) -> Check:
    def check(path: str, value: Any) -> list[Problem]:
        good = isinstance(value, str) and value in codes
        return [] if good else [f"{path} must be a supported language code"]

    return check


def _vocabulary_word(path: str, value: Any) -> list[Problem]:
    if isinstance(value, str):
        return []
    if not isinstance(value, dict):
        return [f"{path} must be a string or an object"]
    problems: list[Problem] = []
    _walk(value, _VOCABULARY_WORD, path, problems, [])
    return problems


def _spelling(path: str, value: Any) -> list[Problem]:
    if not isinstance(value, dict):
        return [f"{path} must be an object"]
    return [problem for key, item in value.items() for problem in _each(_string)(f"{path}.{key}", item)]


@dataclass(frozen=True, slots=True)
class _Object:
    """A nested object: its fields, and the names of those it cannot do without."""

    fields: Mapping[str, Check | _Object]
    required: tuple[str, ...] = ()


def _walk(value: Any, spec: Check | _Object, path: str, problems: list[Problem], unknown: list[str]) -> None:
    if not isinstance(spec, _Object):
        problems += spec(path, value)
        return
    if not isinstance(value, dict):
        problems.append(f"{path} must be an object")
        return
    prefix = f"{path}." if path else ""
    problems += [f"{prefix}{name} is required" for name in spec.required if name not in value]
    for name, item in value.items():
        inner = spec.fields.get(name)
        if inner is None:
            unknown.append(prefix + name)
        else:
            _walk(item, inner, prefix + name, problems, unknown)


_MESSAGES: Final = {wire: _boolean for _, wire, _, _ in _SWITCHES}
_VOCABULARY_WORD: Final = _Object(
    {
        "value": _string,
        "intensity": _number(0, 1),
        "pronunciations": _each(_string),
        "language": _language(LANGUAGES),
    },
    required=("value",),
)
_FIELDS: Final = _Object(
    {
        "encoding": _one_of("wav/pcm", "wav/alaw", "wav/ulaw"),
        "bit_depth": _one_of(8, 16, 24, 32),
        "sample_rate": _one_of(8000, 16000, 32000, 44100, 48000),
        "channels": _number(1, 8, whole=True),
        "custom_metadata": _metadata,
        "model": _model,
        "endpointing": _number(0.01, 10),
        "maximum_duration_without_endpointing": _number(5, 60),
        "language_config": _Object(
            {"languages": _each(_language(LANGUAGES)), "code_switching": _boolean},
        ),
        "pre_processing": _Object({"audio_enhancer": _boolean, "speech_threshold": _number(0, 1)}),
        "realtime_processing": _Object(
            {
                "custom_vocabulary": _boolean,
                "custom_vocabulary_config": _Object(
                    {"vocabulary": _each(_vocabulary_word), "default_intensity": _number(0, 1)},
                    required=("vocabulary",),
                ),
                "custom_spelling": _boolean,
                "custom_spelling_config": _Object(
                    {"spelling_dictionary": _spelling}, required=("spelling_dictionary",)
                ),
                "translation": _boolean,
                "translation_config": _Object(
                    {
                        "target_languages": _each(_language(TARGETS), least=1),
                        "model": _one_of("base", "batch", "enhanced"),
                        "match_original_utterances": _boolean,
                        "lipsync": _boolean,
                        "context_adaptation": _boolean,
                        "context": _string,
                        "informal": _boolean,
                    },
                    required=("target_languages",),
                ),
                "named_entity_recognition": _boolean,
                "sentiment_analysis": _boolean,
                "words_accurate_timestamps": _boolean,  # gone from the document, still sent by plugins
            }
        ),
        "post_processing": _Object(
            {
                "summarization": _boolean,
                "summarization_config": _Object({"type": _one_of("general", "bullet_points", "concise")}),
                "chapterization": _boolean,
            }
        ),
        "messages_config": _Object(_MESSAGES),
        "callback": _boolean,
        "callback_config": _Object({"url": _url, **_MESSAGES}),
    }
)
