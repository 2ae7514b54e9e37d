"""Where the time of finals went: on the stream, at `…/timeline` and in the histograms, through a whole gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.scripted_gateway import TOKEN, scripted_gateway

HOPS = ("sourceMs", "socketMs", "providerMs", "durableMs", "watchersMs")


async def test_every_final_says_where_its_time_went(database_url: str, tmp_path: Path) -> None:
    async with scripted_gateway(database_url, tmp_path) as world:
        slug = await world.new_session()
        ingest = await world.start(slug)
        query = {"session": slug, "token": TOKEN, "timing": "1"}
        async with world.http.ws_connect(f"{world.url}/api/realtime/transcribe", params=query) as stream:
            said = await world.say(ingest, 3)
            told: list[dict[str, Any]] = []
            finals: dict[int, Any] = {}
            while len(told) < len(said):
                message = json.loads((await stream.receive(timeout=60)).data)
                if message["type"] == "transcript.final":
                    finals[message["seq"]] = message["data"]
                elif message["type"] == "timing":
                    assert message["data"]["seq"] in finals  # behind its final
                    told.append(message["data"])
        timeline = await world.call("GET", f"/api/transcription/{slug}/timeline")
        assert timeline["finals"] == told
        for one in told:
            assert one["utteranceId"] == finals[one["seq"]]["utteranceId"]
            hops = [one[hop] for hop in HOPS]
            assert min(hops) >= 0 and sum(hops) == one["endToEndMs"], one
            assert one["providerMs"] > 0
        async with world.http.get(world.url + "/metrics") as answer:
            metrics = await answer.text()
        for hop, fields in (("source_chunk", HOPS[:1]), ("chunk_socket", HOPS[1:2]), ("final_end_to_end", HOPS)):
            assert f'gateway_hop_seconds_count{{hop="{hop}"}} {float(len(said))}' in metrics
            [line] = [one for one in metrics.splitlines() if one.startswith(f'gateway_hop_seconds_sum{{hop="{hop}"}}')]
            expected = sum(one[field] for one in told for field in fields) / 1000
            assert abs(float(line.split()[1]) - expected) < 0.02  # those of the stream are rounded
        assert not any(word in json.dumps(timeline) for text in said for word in text.split())
        await world.stop(slug)
        assert (await world.call("GET", f"/api/transcription/{slug}/timeline"))["finals"] == []
