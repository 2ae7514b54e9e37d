"""Everything that a watcher is told besides the words, as it happens on a real gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from integration.gateway_api.in_process import TOKEN, Door, InProcess, Relay, Stream, running

from stt.local.scripted import speak
from stt.local.server import LocalServer


async def told(stream: Stream, reason: str) -> None:
    """Read on until the newest health names this reason; an empty one stands for all is well."""
    async with asyncio.timeout(60):
        while True:
            message = await stream.next(40)
            if message["type"] != "health":
                continue
            data: dict[str, Any] = message["data"]
            if data["status"] == ("degraded" if reason else "ok") and reason in "; ".join(data["reasons"]):
                return


async def talk(gateway: InProcess, slug: str) -> None:
    """Somebody who speaks without end."""
    pcm, _ = speak("alpha bravo", lead_s=0.1, tail_s=0.9)
    url = f"{gateway.url}/api/realtime/audio?session={slug}&identity=anna&name=Anna&token={TOKEN}"
    async with gateway.http.ws_connect(url) as socket:
        await socket.send_json({"type": "start", "sampleRate": 16_000, "channels": 1})
        clock = asyncio.get_running_loop().time
        due = clock()  # a sender whose pauses are only about right falls behind, and makes gaps within words
        while True:
            for at in range(0, len(pcm), 3_200):
                await socket.send_bytes(pcm[at : at + 3_200])
                due += 0.1
                await asyncio.sleep(due - clock())


async def test_what_goes_wrong_and_right_again_is_told_while_it_happens(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """The provider's line, the database, translations, the host; and no word is lost over all of it."""
    relay = Relay(database_url)
    await relay.mend()
    async with (
        Door(provider.url) as door,
        running(relay.url, provider, tmp_path, gladia_api_url=door.url) as gateway,
    ):
        slug = await gateway.session()
        await gateway.start(slug, source="websocket", translateTo="fr")
        async with gateway.watch(slug) as stream:
            talking = asyncio.create_task(talk(gateway, slug))
            [host] = await stream.until("host.changed")
            assert host["data"] == {"participantIdentity": "anna", "participantName": "Anna", "reason": "first"}
            [translated] = await stream.until("translation")
            assert (translated["data"]["targetLanguage"], translated["data"]["text"]) == ("fr", "ALPHA BRAVO")

            door.shut()
            await told(stream, "the connection to the speech provider is being restored")
            async with gateway.watch(slug) as late:
                await late.until("health")  # whoever comes now is told as well
            door.open()
            await told(stream, "")

            await relay.cut()
            await told(stream, "the database is behind; finals are kept on disk")
            await relay.mend()
            await told(stream, "")

            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)
            stopping = asyncio.create_task(gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug}))
            while stream.messages[-1]["data"].get("state") != "stopped":
                await stream.next(20)
            await stopping
            assert stream.seqs == list(range(1, len(stream.seqs) + 1))
            finals = [one["data"]["text"] for one in stream.messages if one["type"] == "transcript.final"]
            words = " ".join(finals).split()  # a busy machine may make two utterances of one
            assert words == ["alpha", "bravo"] * (len(words) // 2) + ["alpha"] * (len(words) % 2), finals
    await relay.cut()
