"""The model's side: a chat endpoint that answers well, badly, late, hugely or not at all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from support.chat_server import GOOD, KEY, MODEL, ChatServer, chat_server, refuses, says

from gateway.analysis.analyse import AnalysisImpossible, AnalysisTrouble
from gateway.analysis.analysts import ModelAnalyst
from gateway.analysis.chat import ChatOptions, open_chat
from gateway.analysis.rules import NOTHING_SAID, Conversation, Findings, Line, Risk, Task
from stt.backoff import Backoff

TALK = Conversation(
    (
        Line("Anna", "I'll check the backups by Friday.", "en", 1_000),
        Line("Bob", "The migration is slow.", "en", 5_000),
    ),
    "Stand-up",
    datetime(2026, 1, 5, 10, tzinfo=UTC),
)
FOUND = Findings(
    "model",
    "They agreed to ship on Friday.",
    (Task("Check the backups", "Anna", "2026-01-09", "I'll check the backups by Friday.", 1_000),),
    (Risk("The migration is slow", "high", None, "The migration is slow.", 5_000),),
)
QUICK = ChatOptions("", MODEL, KEY, timeout_s=5.0, tries=3, backoff=Backoff(0.001, 1.0, 0.001))


@asynccontextmanager
async def analyst(
    *script: Any, part_characters: int = 30_000, **changes: Any
) -> AsyncIterator[tuple[ModelAnalyst, ChatServer]]:
    async with chat_server(*script) as server, open_chat(replace(QUICK, url=server.url, **changes)) as chat:
        yield ModelAnalyst(chat, part_characters), server


async def test_a_talk_becomes_summary_tasks_and_risks() -> None:
    async with analyst() as (model, server):
        assert await model.analyse(TALK) == FOUND
        [asked] = server.asked
        assert asked["model"] == MODEL
        assert "1 | 0:00:01 | Anna | I'll check the backups by Friday." in server.told()


async def test_where_nothing_was_said_nobody_is_asked() -> None:
    async with analyst() as (model, server):
        assert await model.analyse(Conversation(())) == Findings("extractive", NOTHING_SAID)
        assert server.asked == []


@pytest.mark.parametrize(
    "bad", ["{", "Sure, here it is!", "null", GOOD | {"risks": [{"title": "x"}]}, GOOD | {"summary": ""}, None]
)
async def test_an_unusable_answer_is_asked_for_once_more_with_what_is_wrong(bad: Any) -> None:
    async with analyst(says(bad), says(GOOD)) as (model, server):
        assert await model.analyse(TALK) == FOUND
        first, second = server.asked
        assert second["messages"][: len(first["messages"])] == first["messages"]
        told, complaint = second["messages"][-2:]
        assert (told["role"], complaint["role"]) == ("assistant", "user")
        assert "cannot be used" in complaint["content"]


async def test_an_answer_that_is_unusable_twice_is_given_up() -> None:
    async with analyst(says("no"), says("nor this")) as (model, server):
        with pytest.raises(AnalysisImpossible, match="nor its second one: it is not JSON"):
            await model.analyse(TALK)
        assert len(server.asked) == 2


def moment(after_s: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=after_s), usegmt=True)


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: refuses(429, "Rate limit reached", **{"Retry-After": "0"}),
        lambda: refuses(429, "Rate limit reached", **{"Retry-After": moment(-5)}),
        lambda: refuses(429, "Rate limit reached", **{"Retry-After": "soon"}),
        lambda: refuses(500, "The server had an error"),
        lambda: web.Response(status=503, text="<html>upstream</html>"),
        lambda: says(GOOD) | {"choices": []},
        lambda: "cut",
    ],
)
async def test_passing_trouble_is_tried_again_here(trouble: Callable[[], Any]) -> None:
    async with analyst(trouble(), trouble(), says(GOOD)) as (model, server):
        assert await model.analyse(TALK) == FOUND
        assert len(server.asked) == 3


async def test_trouble_that_stays_goes_back_to_the_queue() -> None:
    async with analyst(lambda _: refuses(500, "The server had an error")) as (model, server):
        with pytest.raises(AnalysisTrouble, match="answered 500: The server had an error"):
            await model.analyse(TALK)
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(lambda: "300", 300, 300), (lambda: moment(1800), 1700, 1800), (lambda: "999999999", 3600, 3600)],
)
async def test_a_server_that_asks_for_long_patience_gets_it_in_the_queue(
    value: Callable[[], str], low: float, high: float
) -> None:
    async with analyst(refuses(429, "Slow down", **{"Retry-After": value()})) as (model, server):
        with pytest.raises(AnalysisTrouble) as trouble:
            await model.analyse(TALK)
        assert trouble.value.retry_after_s is not None
        assert low <= trouble.value.retry_after_s <= high
        assert len(server.asked) == 1


async def test_a_server_that_hangs_is_not_waited_for_for_ever() -> None:
    async with analyst("hang", timeout_s=0.2, tries=2) as (model, server):
        with pytest.raises(AnalysisTrouble, match=r"within 0\.2 s"):
            await model.analyse(TALK)
        assert len(server.asked) == 2


async def test_a_server_that_is_not_there_is_passing_trouble() -> None:
    async with chat_server() as server:
        url = server.url
    async with open_chat(replace(QUICK, url=url)) as chat:
        with pytest.raises(AnalysisTrouble, match="cannot be reached"):
            await ModelAnalyst(chat, 30_000).analyse(TALK)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: says("x" * 3_000_000), "larger than"),
        (lambda: says(None, refusal="I'm sorry, I can't."), "refuses"),
        (lambda: says(None, finish_reason="content_filter"), "refuses"),
        (lambda: says('{"summary": "', finish_reason="length"), "cut off"),
        (lambda: {"hello": "world"}, "no chat completion"),
        (lambda: web.Response(text="<html>"), "no chat completion"),
        (lambda: web.Response(status=302, headers={"Location": "/login"}), "answered 302"),
        (lambda: refuses(429, "You exceeded your current quota (insufficient_quota)"), "quota"),
        (lambda: refuses(400, "context length exceeded"), "answered 400: context length exceeded"),
    ],
)
async def test_what_cannot_get_better_is_not_repeated(answer: Callable[[], Any], why: str) -> None:
    async with analyst(answer()) as (model, server):
        with pytest.raises(AnalysisImpossible, match=why):
            await model.analyse(TALK)
        assert len(server.asked) == 1


async def test_a_wrong_key_or_model_says_what_to_look_at() -> None:
    async with analyst(key="wrong") as (model, _):
        with pytest.raises(AnalysisImpossible, match=r"key provided\.; check GATEWAY_ANALYSIS_KEY"):
            await model.analyse(TALK)
    async with analyst(model="gpt-0") as (model, _):
        with pytest.raises(AnalysisImpossible, match="`gpt-0` does not exist"):
            await model.analyse(TALK)


async def test_the_key_and_the_model_can_be_looked_at_before() -> None:
    async with chat_server() as server:
        settings = {"key": KEY, "model": MODEL, "url": server.url}
        for wrong, told in (
            ({"key": "wrong"}, "check GATEWAY_ANALYSIS_KEY"),
            ({"model": "gpt-0"}, "no model 'gpt-0'"),
            ({"url": server.url.removesuffix("/v1")}, "answered 404; check GATEWAY_ANALYSIS_URL"),
        ):
            async with open_chat(replace(QUICK, **(settings | wrong))) as chat:
                with pytest.raises(AnalysisImpossible, match=told):
                    await chat.check()
        async with open_chat(replace(QUICK, **settings)) as chat:
            assert "accepts the key" in await chat.check()
    async with open_chat(replace(QUICK, **settings)) as chat:
        with pytest.raises(AnalysisTrouble, match="cannot be reached"):
            await chat.check()


def long_talk(lines: int) -> Conversation:
    said = "word " * 30
    return Conversation(tuple(Line("Anna", f"{said}number {n}.", "en", n * 1000) for n in range(lines)))


async def test_a_long_transcript_goes_in_parts_and_their_findings_are_joined() -> None:
    """Parts first, each line once; then their findings, in groups that fit, until one is left."""

    def answer(body: dict[str, Any]) -> Any:
        text = body["messages"][-1]["content"]
        assert len(text) < 3_000
        if "Join them" in text:
            notes = [line for line in text.split("\n") if line.startswith("{")]
            first = json.loads(notes[0])
            return says(first | {"summary": f"joined {len(notes)}"})
        number = int(text.split("number ")[1].split(".")[0])
        task = {"title": f"task {number}", "assignee": None, "dueDate": None, "line": number + 1}
        return says({"summary": "s" * 4_000, "tasks": [task] * 50, "risks": []})

    talk = long_talk(120)
    async with analyst(answer, part_characters=2_000) as (model, server):
        found = await model.analyse(talk)
    bodies = [body["messages"][-1]["content"] for body in server.asked]
    parts = [body for body in bodies if "Join them" not in body]
    joins = [body for body in bodies if "Join them" in body]
    whole = "".join(parts)
    assert all(f"number {n}." in whole for n in range(120))
    assert whole.count("number ") == 120
    assert len(parts) > 5
    assert 2 <= len(joins) < len(parts)
    assert found.summary.startswith("joined")
    assert found.tasks[0].quote == talk.lines[0].text.strip()


async def test_a_transcript_of_too_many_parts_is_refused_before_anybody_is_asked() -> None:
    async with analyst(part_characters=2_000) as (model, server):
        with pytest.raises(AnalysisImpossible, match="raise GATEWAY_ANALYSIS_PART_CHARACTERS"):
            await model.analyse(long_talk(1_500))
        assert server.asked == []
