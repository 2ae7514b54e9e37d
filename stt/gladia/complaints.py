"""What an error of the provider's is about: a few kinds, whose names metrics and people see. Pure: no I/O, no clock."""

from __future__ import annotations

import re
from typing import Any, Final

from stt.gladia.lenient import clean

KINDS: Final = ("quota", "limit", "credential", "session", "audio", "add_on", "engine")
_MOST_SAID: Final = 300  # characters of an error
_ADD_ONS: Final = frozenset(
    {"translation", "named_entity_recognition", "sentiment_analysis", "post_summarization", "post_chapterization"}
)
_BY_CODE: Final = {
    "401": "credential",
    "402": "quota",
    "403": "credential",
    "429": "limit",
    "rate_limit_exceeded": "limit",
    "invalid_audio_format": "audio",
    "session_timeout": "session",
    "408": "session",
}
_BY_WORDS: Final = (
    ("quota", re.compile(r"quota|credit|billing|payment|\bbalance\b|subscription|\bplan\b", re.IGNORECASE)),
    ("limit", re.compile(r"rate.?limit|too many|concurren", re.IGNORECASE)),
    ("credential", re.compile(r"unauthori[sz]ed|forbidden|api.?key|credential", re.IGNORECASE)),
    ("session", re.compile(r"time.?out|timed out|expired|inactiv", re.IGNORECASE)),
)


def kind_of(about: str, code: str, message: str) -> str:
    """One of KINDS; `engine` is all else.

    `about`: the type of the message that told it. `code`: its own word, an HTTP status, or a close code of the
    provider's, which is 4000 and an HTTP status.
    """
    if about in _ADD_ONS:
        return "add_on"
    if len(code) == 4 and code.startswith("4"):
        code = code[1:]
    if code in _BY_CODE:
        return _BY_CODE[code]
    found = next((kind for kind, words in _BY_WORDS if words.search(message)), None)
    return found or ("audio" if about == "audio_chunk" else "engine")


def reason(error: Any, unknown: str = "unspecified") -> tuple[str, str]:
    """What an error says, and its code: text, or an object with a message, an exception, a code or a status."""
    if isinstance(error, str):
        return clean(error)[:_MOST_SAID] or unknown, ""
    told = error if isinstance(error, dict) else {}
    given = [told.get(key) for key in ("message", "exception", "code", "status_code")]
    said = [clean(str(one))[:_MOST_SAID] for one in given if isinstance(one, str | int) and one != ""]
    codes = [str(one)[:_MOST_SAID] for one in given[2:] if isinstance(one, str | int)]
    return said[0] if said else unknown, codes[0] if codes else ""
