"""Log lines: one event each, with its facts as fields. Never a transcript, never a credential."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

# What every LogRecord has by itself; the rest came in through `extra`.
_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Keys `ts`, `level`, `logger`, `message`, the facts given as `extra`, and `exception` with its trace."""
        line: dict[str, object] = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _facts(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a trace, if there is one, follows on lines of its own."""
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        text = f"{_time(record)} {record.levelname.lower():7} {record.name}: {record.getMessage()}{facts}"
        text = text.replace("\r", "\\r").replace("\n", "\\n")  # what others named must not look like a line of ours
        return text + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def configure(shape: str, level: str, **facts: object) -> None:
    """Log to standard error, so that standard output belongs to the commands. `facts` are in every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: vars(record).update(facts) or True)
    handler.setFormatter(JsonFormatter() if shape == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The pool tells each failed attempt to reach a database that is away, with a trace; the recorder says it once.
    logging.getLogger("asyncpg.pool").setLevel(logging.CRITICAL)
