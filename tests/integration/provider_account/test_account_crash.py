"""A gateway dies without a word; no session stays open at the provider, and every one of them is closed and billed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from support.gateway import Process, Running, gateway_process, publish, write_wav
from support.waiting import until

from stt.local.scripted import VOCABULARY, speak
from stt.local.server import LocalOptions, LocalServer

WITHIN_S = 60.0


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    words = [VOCABULARY[i % len(VOCABULARY)] for i in range(120)]
    pcm, _ = speak(words, lead_s=0.2, pauses=[0.4] * len(words))
    return write_wav(tmp_path / "speech.wav", pcm)


@asynccontextmanager
async def provider(**faults: Any) -> AsyncIterator[LocalServer]:
    async with LocalServer(LocalOptions(engine="scripted", api_key="k", faults=faults)) as server:
        yield server


def gateway(folder: Path, server: LocalServer, database_url: str) -> Any:
    return gateway_process(
        folder,
        DATABASE_URL=database_url,
        GLADIA_API_KEY="k",
        GLADIA_API_URL=server.url,
        GATEWAY_LEASE_S="5",
        GATEWAY_STT_MAX_SESSIONS="3",
    )


async def speaking(
    running: Running, server: LocalServer, sound: Path, stack: AsyncExitStack, count: int = 1, **options: Any
) -> list[str]:
    """So many sessions in which somebody speaks, and the provider has begun to hear it."""
    before = set(server.sessions)
    slugs = []
    for _ in range(count):
        slugs.append(await running.new_session())
        started = await running.start(slugs[-1], **options)
        publisher: Process = await publish(sound, started["ingest"]["rtmpUrl"])
        stack.push_async_callback(publisher.end)
    await until(
        lambda: sum(live.audio_bytes > 16_000 for key, live in server.sessions.items() if key not in before) == count,
        "the provider hears it",
    )
    return slugs


async def books(database_url: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(database_url)
    try:
        return [dict(row) for row in await connection.fetch("SELECT * FROM gateway.provider_session")]
    finally:
        await connection.close()


async def all_settled(database_url: str, server: LocalServer) -> list[dict[str, Any]]:
    """Wait until the books know every session of the provider, as closed and billed."""
    rows: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(WITHIN_S):
            while True:
                rows = await books(database_url)
                done = all(row["closed_at"] and row["billing_seconds"] is not None for row in rows)
                if done and {row["id"] for row in rows} == set(server.sessions):
                    break
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"the books were never settled: {rows}") from None
    for row in rows:
        assert row["billing_seconds"] == pytest.approx(server.sessions[row["id"]].audio_bytes / 32_000, abs=0.001)
        assert row["url"] is None, "the credential is forgotten when the session is done"
    return rows


async def test_a_restart_ends_and_bills_what_the_killed_process_left_running(
    database_url: str, tmp_path: Path, sound: Path
) -> None:
    async with provider() as server, AsyncExitStack() as stack:
        async with gateway(tmp_path / "data", server, database_url) as running:
            await speaking(running, server, sound, stack, count=2)
            await running.kill()
        left = list(server.sessions.values())
        assert [live.open for live in left] == [True, True]
        await stack.aclose()  # nobody speaks any more
        async with gateway(tmp_path / "data", server, database_url) as again:
            await until(lambda: not any(live.open for live in left), "the sessions of the dead process are ended")
            rows = await all_settled(database_url, server)
            assert {row["outcome"] for row in rows} == {"orphaned"}
            token = left[0].token
            assert token not in again.process.output and token not in running.process.output
        assert len(server.sessions) == 2  # nobody spoke, so nothing was opened


async def test_words_that_the_killed_process_had_sent_and_not_kept_come_from_the_provider(
    database_url: str, tmp_path: Path
) -> None:
    """Finals are withheld until the end, all but the first: only the record has them. Each word once, at its
    place, and its translations with it."""
    said = [VOCABULARY[i] for i in range(30)]
    pcm, places = speak(said, lead_s=0.2, pauses=[0.4] * len(said))
    sound = write_wav(tmp_path / "speech.wav", pcm)
    late = list(range(2, 100))
    async with (
        provider(every={"finals": {"missing": late}, "result_delay_s": 2.0}) as server,
        AsyncExitStack() as stack,
    ):
        async with gateway(tmp_path / "data", server, database_url) as running:
            [slug] = await speaking(running, server, sound, stack, language="en", translateTo=["fr", "de"])
            [dead] = server.sessions.values()
            await until(lambda: len(dead.finals) >= 5, "the provider has heard five words")
            await running.until(slug, lambda seen: seen["finals"] == 1)
            await running.kill()
        heard = [final["utterance"]["text"].strip() for final in dead.finals]
        await stack.aclose()
        async with gateway(tmp_path / "data", server, database_url) as again, again.watch(slug) as watcher:
            await watcher.until(lambda seen: len(seen.finals) >= len(heard), WITHIN_S)
            rest = [final["utterance"]["text"].strip() for final in dead.finals][len(heard) :]
            await watcher.until(lambda seen: len(seen.words) == len(heard) + len(rest), WITHIN_S)
            assert watcher.words == heard + rest
            assert [final["seq"] for final in watcher.finals] == list(range(1, len(watcher.words) + 1))
            first = watcher.finals[0]["data"]["startMs"] - round(places[0][1] * 1000)
            for final, (_, start, end) in zip(watcher.finals, places, strict=False):
                assert final["data"]["startMs"] - first == pytest.approx(start * 1000, abs=100)
                assert final["data"]["endMs"] - first == pytest.approx(end * 1000, abs=100)
            stopped = await again.stop(slug)
            for language in ("fr", "de"):
                kept = await again.ok("GET", f"/api/sessions/{slug}/transcript?lang={language}")
                told = [final["translations"][language] for final in kept["finals"]]
                assert told == [word.upper() for word in watcher.words]
            [row] = stopped["usage"]["rows"]
            # The meter forgets what came after the last checkpoint: here the one final that was not withheld.
            assert row["finalTranscripts"] in (len(watcher.words) - 1, len(watcher.words))
            assert not stopped["finalsComplete"]  # what had not been sent yet died with the process
            await all_settled(database_url, server)


async def test_sessions_that_no_book_knows_are_found_by_what_they_were_told(
    database_url: str, tmp_path: Path, sound: Path
) -> None:
    """The answer to a POST was lost, so nobody has the session's URL; the provider's list has its labels."""
    plan = {"post": {"lost_answers": 1}, "every": {"token_is_id": True}}
    async with provider(**plan) as server, AsyncExitStack() as stack:
        async with gateway(tmp_path / "data", server, database_url) as running:
            await speaking(running, server, sound, stack)
            await running.kill()
        assert [live.open for live in server.sessions.values()] == [True, True]
        await stack.aclose()
        async with gateway(tmp_path / "data", server, database_url):
            await until(lambda: not any(live.open for live in server.sessions.values()), "both are ended")
            await all_settled(database_url, server)


async def test_another_replica_ends_the_dead_ones_sessions_and_leaves_the_living_ones_alone(
    database_url: str, tmp_path: Path, sound: Path
) -> None:
    async with provider() as server, AsyncExitStack() as stack:
        async with gateway(tmp_path / "one", server, database_url) as dying:
            await speaking(dying, server, sound, stack)
            [orphan] = server.sessions.values()
            async with (
                gateway(tmp_path / "two", server, database_url) as living,
                gateway(tmp_path / "three", server, database_url) as bystander,
                AsyncExitStack() as mine,
            ):
                [slug] = await speaking(living, server, sound, mine)
                [theirs] = await speaking(bystander, server, sound, mine)
                await dying.kill()
                await stack.aclose()
                await until(lambda: not orphan.open, "the dead replica's session is ended")
                others = [live for live in server.sessions.values() if live is not orphan]
                assert [(live.open, live.connections) for live in others] == [(True, 1)] * 2
                await mine.aclose()
                assert (await living.stop(slug))["finalsComplete"]
                assert (await bystander.stop(theirs))["finalsComplete"]
                rows = await all_settled(database_url, server)
        outcomes = {row["id"]: row["outcome"] for row in rows}
        assert outcomes.pop(orphan.id) == "orphaned"
        assert set(outcomes.values()) == {"closed"}
