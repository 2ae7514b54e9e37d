"""Two gateways: what is asked for while a transcription runs is asked of either, and goes with it to its next owner."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from integration.gateway_api.in_process import InProcess, running, speech_server, user_token
from integration.gateway_live.test_gateway_live_audio import Sender, speaking, voice
from integration.gateway_replicas.test_replicas_steer import pair
from support.waiting import until


async def shown(gateway: InProcess, slug: str) -> dict[str, Any]:
    found: dict[str, Any] = await gateway.ok("GET", f"/api/transcription/{slug}")
    return found


async def words(gateway: InProcess, slug: str) -> list[str]:
    stopped = await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert stopped["finalsComplete"]
    finals = (await gateway.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"]
    return [word for one in finals for word in one["text"].split()]


async def test_a_language_is_changed_in_the_middle_of_what_is_said(database_url: str, tmp_path: Path) -> None:
    """Asked of the replica that does not run it; the words come once, and the stream says when it is in force."""
    async with pair(database_url, tmp_path) as two:
        a, b = two.a, two.b
        await two.ids()
        slug = await a.session()
        await a.start(slug, source="websocket", participants={"carl": {"language": "fr"}})
        patch = {"participants": {"ben": {"language": "de", "translateTo": "en"}}, "customVocabulary": ["Zugspitze"]}
        async with a.watch(slug) as watcher, speaking(b, slug, identity="ben") as sender:
            await sender.start()
            await sender.send(voice("alpha bravo charlie delta"))
            await until(lambda: _has_session(a, slug))
            answer = await b.ok("PATCH", f"/api/transcription/{slug}", patch)
            assert answer["participants"]["ben"]["languages"] == ["de"]
            assert answer["participants"]["carl"]["languages"] == ["fr"]
            assert answer["pending"] == ["ben"]
            await sender.send(voice("echo foxtrot golf"))
            [told] = await watcher.until("session.options")
            assert told["data"] == {"participantIdentity": "ben", "languages": ["de"], "translateTo": ["en"]}
            [track] = (await shown(b, slug))["tracks"]
            assert (track["languages"], track["translateTo"]) == (["de"], ["en"])
            await sender.stop()
        assert await words(b, slug) == ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"]


async def _has_session(gateway: InProcess, slug: str) -> bool:
    tracks = (await shown(gateway, slug))["tracks"]
    return bool(tracks) and tracks[0]["languages"] is not None


async def test_a_pause_goes_with_the_transcription_to_its_next_owner(database_url: str, tmp_path: Path) -> None:
    """Paused on the one, which then goes; on the other nothing is heard until the sender itself asks for it."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(speech_server())
        b = await stack.enter_async_context(running(database_url, provider, tmp_path / "b"))
        async with AsyncExitStack() as first:
            a = await first.enter_async_context(running(database_url, provider, tmp_path / "a"))
            slug = await a.session()
            await a.start(slug, source="websocket")
            async with speaking(a, slug, identity="ben") as sender:
                await sender.start(stream="s")
                await say(sender, "alpha bravo")
                await ask(sender, "pause", "paused")
                await say(sender, "charlie delta")
                await until(lambda: _is_paused(a, slug, "ben"))
                usage = await a.ok("GET", f"/api/transcription/{slug}/usage")
                await first.aclose()
        async with speaking(b, slug, identity="ben") as sender:
            await until(lambda: _is_paused(b, slug, "ben"))
            await sender.start(stream="s")
            await sender.socket.send_bytes(bytes(3200))
            await sender.socket.send_json({"type": "gap", "ms": 60_000})  # it was muted while there was no connection
            await say(sender, "echo foxtrot")
            again = await b.ok("GET", f"/api/transcription/{slug}/usage")
            assert again["totals"]["audioChunksSent"] == usage["totals"]["audioChunksSent"]
            await ask(sender, "resume", "resumed")
            await say(sender, "golf hotel")
            await sender.stop()
        assert await words(b, slug) == ["alpha", "bravo", "golf", "hotel"]


async def test_translations_on_their_way_outlive_new_targets_and_a_take_over(database_url: str, tmp_path: Path) -> None:
    """Finals and translations come late, so that some are under way at each change. Each is kept once, in its order."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(speech_server(every={"finals": {"delay_s": 0.5}}))
        b = await stack.enter_async_context(running(database_url, provider, tmp_path / "b", lease_s=2))
        async with AsyncExitStack() as first:
            a = await first.enter_async_context(running(database_url, provider, tmp_path / "a", lease_s=2))
            slug = await a.session()
            await a.start(slug, source="websocket", language="en", translateTo=["fr", "es"])
            async with a.watch(slug) as watcher, speaking(a, slug, identity="ben") as sender:
                await sender.start()
                await sender.send(voice("alpha bravo"))
                await until(lambda: _has_session(a, slug))
                await b.ok("PATCH", f"/api/transcription/{slug}", {"translateTo": ["de", "es"]})
                await sender.send(voice("charlie delta"))
                await watcher.until("session.options")
                await sender.send(voice("echo foxtrot"))
                await sender.stop()
            await first.aclose()
        async with speaking(b, slug, identity="ben") as sender:
            await sender.start()
            await sender.send(voice("golf hotel"))
            await sender.stop()
        assert await words(b, slug) == ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]
        finals = (await b.ok("GET", f"/api/sessions/{slug}/transcript?lang=es"))["finals"]
        texts = [one["text"] for one in finals]
        assert [one["translations"]["es"] for one in finals] == [text.upper() for text in texts]
        kept = {language: await _translations(b, slug, language) for language in ("fr", "de", "es")}
        for told in kept.values():
            assert [seq for seq, _, _ in told] == list(range(1, len(told) + 1))
            assert [of for _, of, _ in told] == sorted({of for _, of, _ in told})
            assert all(text == texts[of - 1].upper() for _, of, text in told)
        assert kept["fr"][0][1] == 1
        assert kept["de"][-1][1] == len(texts)
        assert {of for language in ("fr", "de") for _, of, _ in kept[language]} == set(range(1, len(texts) + 1))


async def _translations(gateway: InProcess, slug: str, language: str) -> list[tuple[int, int, str]]:
    async with gateway.records() as shelf:
        session = await shelf.records.sessions.by_slug(slug)
        assert session is not None
        kept = await shelf.records.translations.since(session.id, language, 0, 100)
    return [(one.seq, one.of_seq, json.loads(one.data)["text"]) for one in kept]


async def say(sender: Sender, text: str) -> None:
    """As fast as it is spoken: when something was said decides whether it is heard."""
    pcm = voice(text)
    for at in range(0, len(pcm), 3200):
        await sender.socket.send_bytes(pcm[at : at + 3200])
        await asyncio.sleep(0.1)


async def ask(sender: Sender, message: str, answer: str) -> None:
    await sender.socket.send_json({"type": message})
    while (await sender.answer())["type"] != answer:
        pass


async def _is_paused(gateway: InProcess, slug: str, identity: str) -> bool:
    return identity in (await shown(gateway, slug))["paused"]["participants"]


async def test_who_may_pause_and_what_is_refused(database_url: str, tmp_path: Path) -> None:
    async with pair(database_url, tmp_path) as two:
        a, b = two.a, two.b
        await two.ids()
        slug = await a.session()
        path = f"/api/transcription/{slug}"
        assert (await b.call("POST", f"{path}/pause")).status == 404, "never started"
        await a.start(slug, source="websocket")
        assert await b.ok("POST", f"{path}/pause") == {"state": "paused", "paused": []}
        assert await b.ok("POST", f"{path}/pause", {"participantIdentity": "zed"}) == {
            "state": "paused",
            "paused": ["zed"],
        }
        assert (await b.ok("POST", f"{path}/resume"))["paused"] == ["zed"]
        assert (await b.call("POST", f"{path}/pause", token=user_token("elsewhere"))).status == 403
        assert (await b.call("POST", f"{path}/pause", token=None)).status == 401
        assert (await b.call("PATCH", path, {}, token=user_token("elsewhere"))).status == 401
        for wrong in (
            {"languages": ["en-US"]},
            {"translateTo": "klingon"},
            {"participants": {"ben": {"language": "xx"}}},
            {"customVocabulary": ["x"] * 1001},
            {"customVocabulary": [{"value": "x", "intensity": 1.5}]},
            {"participants": {"": {"language": "de"}}},
            {"participants": {"a\x07b": {}}},
            {"participants": {str(number): None for number in range(1001)}},
        ):
            refused = await b.call("PATCH", path, wrong)
            assert refused.status == 400, wrong
            assert len(refused.json["detail"]) < 600
        assert (await b.call("PATCH", path, {"customVocabulary": ["x" * 100_000]})).status in (400, 413)
        assert (await shown(b, slug))["languages"] == []
        started = await b.call("POST", "/api/transcription/start", {"sessionSlug": slug, "language": "english"})
        assert started.status == 400
        await a.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        assert (await b.call("PATCH", path, {"language": "de"})).status == 409
        deeds = (await b.ok("GET", f"/api/audit?session={slug}"))["entries"]
        assert {"pause", "resume"} <= {one["what"] for one in deeds}


async def test_a_space_keeps_words_for_its_transcriptions(database_url: str, tmp_path: Path) -> None:
    """With those of the start and, behind them, the names of those who take part."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(speech_server())
        gateway = await stack.enter_async_context(running(database_url, provider, tmp_path / "a"))
        slug = await gateway.session()
        space = (await gateway.ok("GET", f"/api/sessions/{slug}"))["spaceId"]
        path = f"/api/spaces/{space}/vocabulary"
        assert await gateway.ok("GET", path) == {"words": [], "spelling": {}}
        kept = {"words": ["Zugspitze", {"value": "Kay", "intensity": 0.3}], "spelling": {"Zoë": ["Zoe", "Zowie"]}}
        assert await gateway.ok("PUT", path, kept) == await gateway.ok("GET", path)
        assert (await gateway.call("PUT", path, kept, token=user_token("another-space"))).status == 403
        assert (await gateway.call("PUT", path, {"words": ["x"] * 1001})).status == 400
        assert (await gateway.call("PUT", path, {"word": ["x"]})).status == 400
        assert (await gateway.call("PUT", path, b'{"words": ["' + b"x" * 1_000_000 + b'"]}')).status == 413
        started = await gateway.start(slug, source="websocket", preset="meeting", customVocabulary=["Watzmann", "kay"])
        assert any("no language is given" in warning for warning in started["warnings"])
        async with speaking(gateway, slug, identity="ben", name="Ben Ng") as sender:
            await sender.start()
            await sender.send(voice("alpha"))
            await sender.stop()
        assert await words(gateway, slug) == ["alpha"]
        [session] = provider.sessions.values()
        asked = session.config.params["realtime_processing"]
        told = [
            one if isinstance(one, str) else one["value"] for one in asked["custom_vocabulary_config"]["vocabulary"]
        ]
        assert told[:3] == ["Watzmann", "kay", "Zugspitze"]
        assert asked["custom_vocabulary_config"]["default_intensity"] == 0.4
        assert asked["custom_spelling_config"]["spelling_dictionary"] == {"Zoë": ["Zoe", "Zowie"]}
        assert session.config.params["endpointing"] == 0.4
        assert session.config.params["maximum_duration_without_endpointing"] == 60.0
