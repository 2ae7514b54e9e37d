"""Log lines: one event each, with its facts as fields. Never a transcript, never a credential.

Every module logs through the standard library; structlog makes the lines, with the ids that `correlation` has bound.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

from gateway.structured import ExtraAdder, format_exc_info, merge_contextvars

OWN: Final = ("gateway", "ingest", "stt", "storage", "transcription_client")
"""Whose lines GATEWAY_LOG_LEVEL may make finer than `info`. Libraries print at `debug` what they carry: websockets each
message and each header, so every word and every credential."""

_encode: Final = json.JSONEncoder(default=str, ensure_ascii=False).encode
_LOGGER: Final = logging.getLogger(__name__)
_add_facts: Final = ExtraAdder()


class _Formatter(logging.Formatter):
    """structlog's processors, in a row. Its own formatter copies each record first, which costs as much again."""

    def render(self, line: dict[str, Any]) -> str:
        raise NotImplementedError

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: MutableMapping[str, Any] = {
            "ts": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exc_info"] = record.exc_info
        line["_record"] = record  # where ExtraAdder looks for it
        line = _add_facts(_LOGGER, "", merge_contextvars(None, "", line))
        del line["_record"]
        return self.render(dict(format_exc_info(None, "", line)))


class JsonFormatter(_Formatter):
    """One JSON object a line, for machines: `ts`, `level`, `logger`, `message`, the bound ids, the facts given as
    `extra`, and `exception` with its trace."""

    def render(self, line: dict[str, Any]) -> str:
        return _encode(line)


class TextFormatter(_Formatter):
    """The same for people, on one line; a trace, if there is one, follows on lines of its own."""

    def render(self, line: dict[str, Any]) -> str:
        trace = line.pop("exception", None)
        head = f"{line.pop('ts')} {line.pop('level'):7} {line.pop('logger')}: {line.pop('message')}"
        text = head + "".join(f" {name}={value}" for name, value in line.items())
        text = text.replace("\r", "\\r").replace("\n", "\\n")  # what others named must not look like a line of ours
        return text if trace is None else f"{text}\n{trace}"


def configure(shape: str, level: str, **facts: object) -> None:
    """Log to standard error, so that standard output belongs to the commands. `facts` are in every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: vars(record).update(facts) or True)
    handler.setFormatter(JsonFormatter() if shape == "json" else TextFormatter())
    logging.getLogger().handlers[:] = [handler]
    set_level(level)
    # The pool tells each failed attempt to reach a database that is away, with a trace; the recorder says it once.
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)


def set_level(level: str) -> None:
    """Of OWN; of libraries `info` at the finest. `level`: debug, info, warning or error."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(max(number, logging.INFO))
    for name in OWN:
        logging.getLogger(name).setLevel(number)


def level() -> str:
    """That of OWN."""
    return logging.getLevelName(logging.getLogger(OWN[0]).getEffectiveLevel()).lower()
