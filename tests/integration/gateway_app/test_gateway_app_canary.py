"""`gateway canary` on a gateway that is well, and on some that are not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from support.ports import free_port
from support.scripted_gateway import TOKEN, World, scripted_gateway

from gateway.cli.canary import canary, repeat
from gateway.cli.canary_figures import CanaryFigures
from gateway.cli.canary_round import RATE, STEPS, TAG, Outcome, Round, Sentence, known_sentence
from gateway.cli.client import Client
from gateway.cli.parser import parser
from stt.local.scripted import speak

WORDS = ("alpha", "bravo")


def sentence(*words: str) -> Sentence:
    pcm, _ = speak(words, lead_s=0.2, tail_s=1.0)
    return Sentence(pcm, 0.2, len(pcm) / 2 / RATE - 1.0, WORDS)


async def left(world: World) -> list[str]:
    connection = await asyncpg.connect(world.gateway.database_url)
    try:
        return [row["title"] for row in await connection.fetch('SELECT title FROM "VideoSession"')]
    finally:
        await connection.close()


async def test_a_round_measures_and_leaves_nothing_however_it_ends(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.canary_round._PATIENCE_S", 0.5)  # for words that never come
    async with scripted_gateway(database_url, tmp_path) as world:
        client, done = Client(world.url, TOKEN), list[str]()
        good = await Round(client, sentence(*WORDS), 1.0, lambda step, seconds: done.append(step)).run()
        assert good.failed is None, good
        assert done == list(good.steps) == list(STEPS)
        assert good.words_share == 1.0
        assert good.first_partial_s is not None and good.final_s is not None
        usage = await world.call("GET", f"/api/usage?from=2026-01-01&groupBy=session&tag={TAG}")
        assert usage["totals"]["durationSeconds"] > 0  # and a bill can leave it out

        other = await Round(client, sentence("charlie", "delta"), 0.5).run()
        assert (other.failed, other.words_share) == ("words", 0.0)
        assert "0% of the words" in other.why and "delete" in other.steps

        under_way = asyncio.create_task(Round(client, sentence(*WORDS), 1.0).run())
        while await left(world) != ["Canary"]:
            await asyncio.sleep(0.02)
        under_way.cancel()
        await asyncio.wait([under_way])
        assert await left(world) == []

        refused = await Round(Client(world.url, "wrong"), sentence(*WORDS), 1.0).run()
        assert refused.failed == "create" and "401" in refused.why
        assert "wrong" not in refused.why


async def test_the_command_tells_each_step_or_shows_metrics(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.canary.known_sentence", lambda: sentence(*WORDS))
    monkeypatch.setattr("gateway.logs.configure", lambda *_: None)  # the log of these tests stays where it is
    async with scripted_gateway(database_url, tmp_path) as world:
        known = ["canary", "--url", world.url, "--token", TOKEN]
        assert await canary(parser().parse_args([*known, "--once"])) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in lines if line.startswith("ok")] == [["ok", step] for step in STEPS]
        assert "100% of the words" in lines[-1]
        port, token = free_port(), tmp_path / "token"
        token.write_text(TOKEN)
        monkeypatch.delenv("GATEWAY_API_TOKENS", raising=False)
        monkeypatch.setenv("GATEWAY_API_TOKENS_FILE", str(token))
        options = ["canary", "--url", world.url, "--every", "1", "--port", str(port)]
        running = asyncio.create_task(canary(parser().parse_args(options)))
        async with asyncio.timeout(60), aiohttp.ClientSession() as http:
            text = ""
            while 'gateway_canary_failures_total{step="create"} 1.0' not in text:
                await asyncio.sleep(0.05)
                try:
                    async with http.get(f"http://127.0.0.1:{port}/metrics") as answer:
                        text = await answer.text()
                except aiohttp.ClientError:
                    continue
                if "gateway_canary_words_share 1.0" in text:
                    token.write_text("another")  # it is read again before each round
        assert "gateway_canary_words_share 1.0" in text
        assert 'rounds_total{outcome="ok"} 0.0' not in text and "gateway_canary_final_seconds_count 0.0" not in text
        running.cancel()
        await asyncio.wait([running])
    assert await canary(parser().parse_args([*known, "--once"])) == 1
    assert "FAIL  create: no gateway answers" in capsys.readouterr().out


async def test_rounds_go_on_after_a_failure_and_a_good_one_is_told_by_its_time() -> None:
    figures = CanaryFigures()

    def value(name: str, **labels: str) -> float:
        found = figures.registry.get_sample_value(f"gateway_canary_{name}", labels)
        assert found is not None, name
        return found

    assert figures.registry.get_sample_value("gateway_canary_words_share") is None  # 0 would be an alarm
    began = value("last_success_timestamp_seconds")
    absent = Client("http://127.0.0.1:1", TOKEN)
    rounds = asyncio.create_task(repeat(lambda: absent, sentence(*WORDS), 0.5, 0.01, figures))
    async with asyncio.timeout(60):
        while value("failures_total", step="create") < 3:
            await asyncio.sleep(0.01)
    rounds.cancel()
    await asyncio.wait([rounds])
    assert value("last_success_timestamp_seconds") == began
    assert value("failures_total", step="words") == 0
    figures.note(Outcome(dict.fromkeys(STEPS, 0.5), words_share=0.75, final_s=1.5, first_partial_s=0.5))
    assert value("last_success_timestamp_seconds") > began
    assert (value("words_share"), value("final_seconds_sum"), value("rounds_total", outcome="ok")) == (0.75, 1.5, 1)


def test_the_known_sentence_is_short_and_ends_in_silence() -> None:
    known = known_sentence()
    assert known.begins_s < known.ends_s < len(known.pcm) / 2 / RATE < 5
    assert not any(known.pcm[-2 * RATE :])
    assert any(known.pcm[: int(2 * known.begins_s * RATE) + RATE])
