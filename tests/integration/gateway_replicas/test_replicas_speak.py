"""Two gateways: audio that comes in at one is transcribed by the other, as if it had come in there."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from integration.gateway_api.in_process import InProcess, running, speech_server, user_token
from integration.gateway_live.test_gateway_live_audio import speaking, voice
from integration.gateway_replicas.test_replicas_steer import Pair, pair

WORDS = "alpha bravo charlie delta echo foxtrot"


async def heard(gateway: InProcess, slug: str) -> list[tuple[str, str]]:
    """Who said what, once it has stopped with nothing missing."""
    stopped = await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert stopped["finalsComplete"]
    finals = (await gateway.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"]
    return [(one["participantIdentity"], one["text"]) for one in finals]


async def track(gateway: InProcess, slug: str) -> dict[str, Any]:
    shown: dict[str, Any] = (await gateway.ok("GET", f"/api/transcription/{slug}"))["tracks"][0]
    return shown


async def test_a_stream_goes_on_over_whichever_replica(database_url: str, tmp_path: Path) -> None:
    """Cut in the middle of a word on one, resumed on the other: no sample lost or doubled, one track, one speaker."""
    async with pair(database_url, tmp_path) as two:
        a, b = two.a, two.b
        await two.ids()
        slug = await b.session()
        await a.start(slug, source="websocket")
        pcm = voice(WORDS)
        half = len(pcm) // 4 * 2
        async with speaking(b, slug, identity="ben", name="Ben") as sender:
            assert await sender.start(stream="s") == {"type": "ready", "samples": 0}
            await sender.send(pcm[:half])
            assert await sender.answer() == {"type": "ack", "samples": half // 2}
            assert await b.metric("gateway_audio_carried") == 1
            assert (await track(b, slug))["facts"]["connected"] is True
            host = await b.ok("POST", f"/api/sessions/{slug}/transcription/host", {"identity": "ben"})
            assert host == {"participantIdentity": "ben", "participantName": "Ben"}
        async with speaking(a, slug, identity="ben") as sender:
            assert await sender.start(stream="s") == {"type": "ready", "samples": half // 2}
            async with speaking(b, slug, identity="ben") as other:
                assert await other.start(stream="s") == {"type": "ready", "samples": half // 2}
                assert (await sender.closed())[0] == 4509
                await other.send(pcm[half:])
                assert await other.stop() == len(pcm) // 2
        said = await heard(b, slug)  # one utterance, or two if the machine was slow
        assert ({who for who, _ in said}, " ".join(text for _, text in said)) == ({"ben"}, WORDS)
        usage = (await b.ok("GET", f"/api/transcription/{slug}/usage"))["rows"]
        assert [(row["participantIdentity"], row["durationSeconds"]) for row in usage] == [
            ("ben", usage[0]["durationSeconds"])
        ]
        assert await b.metric("gateway_audio_carried") == 0


async def test_the_door_is_where_one_comes_in(database_url: str, tmp_path: Path) -> None:
    """Wrong callers do not get as far as the owner; what the owner refuses is told as it tells it."""
    async with pair(database_url, tmp_path) as two:
        a, b = two.a, two.b
        await two.ids()
        slug = await b.session()
        await a.start(slug, source="websocket")
        async with speaking(b, slug, token=user_token("another-space"), refusal="close") as sender:
            assert (await sender.closed())[0] == 4501
        async with speaking(b, slug, token=user_token("default", subject="dora"), identity="ben") as sender:
            await sender.socket.send_json({"type": "start", "sampleRate": 16_000})
            assert (await sender.closed())[0] == 4501
        assert await a.metric("gateway_audio_connections") == 0
        guest = await a.call("GET", f"/api/sessions/{slug}/token?identity=gus&name=Gus&for=audio", token=None)
        async with speaking(b, slug, token=guest.json["token"]) as sender:
            await sender.start()
            shown = await track(b, slug)
            assert (shown["participantIdentity"], shown["participantName"]) == ("gus", "Gus")
        async with speaking(b, slug) as sender:
            await sender.socket.send_json({"type": "start", "sampleRate": 1})
            code, reason = await sender.closed()
            assert (code, "8000 to 48000" in reason) == (4522, True)
        async with speaking(b, slug) as sender:
            await sender.start()
            await sender.socket.send_bytes(b"odd")
            assert (await sender.closed())[0] == 4522
        async with speaking(b, slug) as sender:
            await sender.start()
            await a.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
            assert (await sender.closed())[0] == 4510


async def test_a_stream_goes_on_when_its_owner_changes(database_url: str, tmp_path: Path) -> None:
    """The owner hands over and goes: 4000, with the last count; whoever comes back goes on after it."""
    first, second = voice("alpha bravo charlie"), voice("delta echo foxtrot")
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(speech_server())
        opening = running(database_url, provider, tmp_path / "a")
        a = await opening.__aenter__()
        b = await stack.enter_async_context(running(database_url, provider, tmp_path / "b"))
        await Pair(a, b).ids()
        slug = await b.session()
        await a.start(slug, source="websocket")
        async with speaking(b, slug, identity="ben") as sender:
            await sender.start(stream="s")
            await sender.send(first)
            await sender.answer()
            closing = asyncio.create_task(opening.__aexit__(None, None, None))
            assert (await sender.closed())[0] == 4000
            assert sender.answers[-1] == {"type": "ack", "samples": len(first) // 2}
            await closing
        async with speaking(b, slug, identity="ben") as sender:
            assert await sender.start(stream="s") == {"type": "ready", "samples": len(first) // 2}
            await sender.send(second)
            assert await sender.stop() == (len(first) + len(second)) // 2
        said = await heard(b, slug)
        assert ({who for who, _ in said}, " ".join(text for _, text in said)) == ({"ben"}, WORDS)
