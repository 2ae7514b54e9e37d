"""Which request and session a line belongs to: wherever the work goes."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from gateway import correlation, logs


def fields() -> dict[str, str]:
    """What a line written here says beside its message."""
    line = json.loads(logs.JsonFormatter().format(logging.makeLogRecord({"msg": "x"})))
    return {name: line[name] for name in line.keys() - {"ts", "level", "logger", "message"}}


@pytest.mark.parametrize("told", ["a", "7d1f0c2ab9e84410", "Root=1-5759e988-bd862e3fe1be46a994272793;x", "a" * 100])
def test_a_callers_id_is_kept(told: str) -> None:
    assert correlation.request_id(told) == told


@pytest.mark.parametrize("told", ["", "a" * 101, "two words", "line\nbreak", 'quo"te', "é", "a\x00", "<b>", "a\n"])
def test_what_is_unfit_for_a_header_or_a_line_is_replaced(told: str) -> None:
    with correlation.bound(request="other"):
        made = correlation.request_id(told)
    assert made not in ("", told, "other") and correlation.request_id(made) == made


async def test_ids_follow_the_work_into_its_tasks_and_no_further() -> None:
    async def later() -> dict[str, str]:
        await asyncio.sleep(0)
        return fields()

    with correlation.bound(request="r", session="s"):
        with correlation.bound(identity="anna"):
            task = asyncio.create_task(later())
        assert fields() == {"request": "r", "session": "s"}
    assert fields() == {}
    assert await task == {"request": "r", "session": "s", "identity": "anna"}


def test_work_that_nobody_asked_for_gets_an_id_that_stays() -> None:
    with correlation.bound(session="s"):
        made = fields()["request"]
        with correlation.bound(identity="anna"):
            assert fields()["request"] == made
        assert correlation.headers() == {"X-Request-Id": made}


def test_a_fact_of_the_line_itself_counts_more() -> None:
    with correlation.bound(session="bound"):
        line = logging.makeLogRecord({"msg": "x", "session": "told"})
        assert json.loads(logs.JsonFormatter().format(line))["session"] == "told"
        assert logs.TextFormatter().format(line).count("session=told") == 1
