"""Log lines: one event a line, facts as fields, whatever is in them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import logs


def record(message: str, *args: object, **facts: object) -> logging.LogRecord:
    made = logging.getLogger("gateway.test").makeRecord(
        "gateway.test", logging.WARNING, __file__, 1, message, args, None, extra=facts
    )
    made.created = 1_767_607_203.1209
    return made


def failure() -> logging.LogRecord:
    try:
        raise ValueError("first line\nsecond line")
    except ValueError:
        made = record("it failed")
        made.exc_info = sys.exc_info()
        return made


def parsed(made: logging.LogRecord) -> dict[str, Any]:
    line = logs.JsonFormatter().format(made)
    assert "\n" not in line
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


def test_a_json_line_has_time_level_logger_message_and_facts() -> None:
    assert parsed(record("%s is %d", "x", 5, session="abc", ms=1.5)) == {
        "ts": "2026-01-05T10:00:03.120Z",
        "level": "warning",
        "logger": "gateway.test",
        "message": "x is 5",
        "session": "abc",
        "ms": 1.5,
    }


@pytest.mark.parametrize("hostile", ['"', "\\", "a\nb\r\nc", "\x00\x1b[31m", "é → 日本", "\u2028"])
def test_a_json_line_stays_one_line_whatever_is_in_it(hostile: str) -> None:
    line = parsed(record("%s", hostile, session=hostile))
    assert (line["message"], line["session"]) == (hostile, hostile)


def test_a_fact_that_is_no_json_is_shown_as_text() -> None:
    assert parsed(record("x", folder=object))["folder"] == str(object)


def test_an_exception_stays_in_its_line() -> None:
    line = parsed(failure())
    assert line["message"] == "it failed"
    assert "ValueError: first line\nsecond line" in line["exception"]


def test_a_text_line_is_for_people() -> None:
    shown = logs.TextFormatter().format(record("%s is up", "x", session="abc"))
    assert shown == "2026-01-05T10:00:03.120Z warning gateway.test: x is up session=abc"


def test_nobody_can_forge_a_text_line() -> None:
    """A line break in a message or a fact stays visible as what it is; only a traceback has lines of its own."""
    shown = logs.TextFormatter().format(record("a\n2026 error: forged", session="b\r\nc"))
    assert "\n" not in shown and "\r" not in shown
    assert r"a\n2026 error: forged" in shown
    assert logs.TextFormatter().format(failure()).splitlines()[1].startswith("Traceback")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was, and all that `configure` touches with it."""
    logger = logging.getLogger()
    handlers, levels = list(logger.handlers), {name: logging.getLogger(name).level for name in ("", *logs.OWN)}
    yield logger
    logger.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("shape", ["json", "text"])
def test_logs_go_to_standard_error_at_their_level(
    root: logging.Logger, shape: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output belongs to the commands; configuring again does not double the lines."""
    logs.configure(shape, "warning")
    logs.configure(shape, "warning")
    logging.getLogger("gateway.test").info("quiet")
    logging.getLogger("gateway.test").warning("loud")
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "loud" in err
    assert (err[0] == "{") is (shape == "json")


def test_libraries_do_not_print_what_they_carry(root: logging.Logger) -> None:
    """At debug, websockets logs every frame and every header."""
    logs.configure("json", "debug")
    assert not logging.getLogger("websockets.client").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("stt.gladia.client").isEnabledFor(logging.DEBUG)
    logs.configure("json", "error")
    assert not logging.getLogger("websockets.client").isEnabledFor(logging.WARNING)
