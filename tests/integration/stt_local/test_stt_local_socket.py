"""The WebSocket side of a healthy server."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import aiohttp
import numpy as np
import pytest
import soxr
from stt_local_client import Client, Meet, Talk
from support.waiting import until

from stt.local.scripted import speak


async def read_until(socket: aiohttp.ClientWebSocketResponse, type_: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            message: dict[str, Any] = json.loads((await socket.receive()).data)
            if message["type"] == type_:
                return message


async def test_a_session_runs_in_the_documented_order(meet: Meet) -> None:
    client = await meet()
    pcm, places = speak("alpha bravo charlie", lead_s=0.3, tail_s=0.3)
    talk = await client.talk(pcm)
    assert talk.closes == [1000]
    assert talk.types[0] == "start_recording"
    tail = [t for t in talk.types if t not in ("audio_chunk", "transcript", "speech_start", "speech_end")]
    assert tail == [
        "start_recording",
        "stop_recording",
        "end_recording",
        "post_transcript",
        "post_final_transcript",
        "end_session",
    ]
    assert talk.words == ["alpha", "bravo", "charlie"]
    (final,) = talk.finals
    for word, (_, start, end) in zip(final["utterance"]["words"], places, strict=True):
        assert abs(word["start"] - start) < 0.02 and abs(word["end"] - end) < 0.02
    partials = [m["data"] for m in talk.of("transcript") if not m["data"]["is_final"]]
    assert [p["id"] for p in partials] == ["00_00000000"] * 3
    assert partials[-1]["utterance"]["text"] == " alpha bravo charlie"
    assert all(m["session_id"] == talk.id and m["created_at"].endswith("Z") for m in talk.messages)


async def test_every_chunk_is_acknowledged_with_its_range(meet: Meet) -> None:
    client = await meet()
    talk = await client.talk(bytes(3200 * 3 + 100))
    ranges = [m["data"]["byte_range"] for m in talk.of("audio_chunk")]
    assert ranges == [[0, 3200], [3200, 6400], [6400, 9600], [9600, 9700]]
    assert talk.of("audio_chunk")[1]["data"]["time_range"] == [0.1, 0.2]
    assert talk.of("stop_recording")[0]["data"]["recording_duration"] == round(9700 / 32_000, 3)


async def test_audio_may_come_as_json_also_empty_and_mixed_with_binary(meet: Meet) -> None:
    client = await meet()
    pcm, _ = speak("alpha", tail_s=0.2)
    made = await client.create()
    talk = Talk(made["url"], made["id"])
    async with client.http.ws_connect(made["url"]) as socket:
        for at in range(0, len(pcm), 3200):
            piece = pcm[at : at + 3200]
            if at % 6400:
                await socket.send_bytes(piece)
            else:
                chunk = base64.b64encode(piece).decode()
                await socket.send_json({"type": "audio_chunk", "data": {"chunk": chunk}})
        await socket.send_json({"type": "audio_chunk", "data": {"chunk": ""}})
        await socket.send_bytes(b"")
        await socket.send_json({"type": "stop_recording"})
        talk.messages = [json.loads(frame.data) async for frame in socket]
    assert talk.words == ["alpha"]
    end = len(pcm)
    assert [m["data"]["byte_range"] for m in talk.of("audio_chunk")][-2:] == [[end, end], [end, end]]


@pytest.mark.parametrize("text", ["{", "[]", '{"type":"audio_chunk"}', '{"type":"audio_chunk","data":{"chunk":"*"}}'])
async def test_a_message_that_is_none_is_answered_and_ends_nothing(meet: Meet, text: str) -> None:
    client = await meet()
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_str(text)
        assert (await read_until(socket, "error"))["data"]["code"] == "invalid_message"
        await socket.send_bytes(bytes(320))
        assert (await read_until(socket, "audio_chunk"))["acknowledged"]


async def test_audio_after_stop_is_refused(meet: Meet) -> None:
    client = await meet(faults={"end_delay_s": 0.3})
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_json({"type": "stop_recording"})
        await socket.send_bytes(bytes(320))
        answer = await read_until(socket, "audio_chunk")
    assert answer["acknowledged"] is False
    assert answer["data"] is None and "stopped" in answer["error"]["message"]
    assert client.server.sessions[made["id"]].audio_bytes == 0


async def test_messages_follow_the_switches(meet: Meet) -> None:
    client = await meet()
    switches = {
        "receive_final_transcripts": False,
        "receive_speech_events": False,
        "receive_acknowledgments": False,
        "receive_post_processing_events": False,
        "receive_realtime_processing_events": False,
    }
    talk = await client.talk(
        speak("alpha", tail_s=0.2)[0],
        messages_config=switches,
        realtime_processing={"translation": True, "translation_config": {"target_languages": ["fr"]}},
    )
    assert talk.types == []
    assert talk.closes == [1000]
    assert len(client.server.sessions[talk.id].finals) == 1


async def test_a_frame_of_1_mib_is_taken_and_a_larger_one_closes_with_1009(meet: Meet) -> None:
    client = await meet()
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_bytes(bytes(1 << 20))
        assert (await read_until(socket, "audio_chunk"))["data"]["byte_range"] == [0, 1 << 20]
        await socket.send_bytes(bytes((1 << 20) + 1))
        async for _ in socket:
            pass
        assert socket.close_code == 1009
    assert client.server.sessions[made["id"]].open


async def test_a_reconnect_continues_the_session_exactly(meet: Meet) -> None:
    """Counters, timeline and ids go on; nothing is lost and nothing doubled."""
    client = await meet(faults={"cuts": [{"at_byte": 12_345}, {"at_byte": 30_000, "code": 4500}]})
    pcm, _ = speak("alpha bravo charlie delta", pauses=[0.3, 0.0, 0.3], tail_s=0.3)
    talk = await client.talk(pcm)
    assert talk.closes == [None, 4500, 1000]
    assert talk.words == ["alpha", "bravo", "charlie", "delta"]
    assert [final["id"] for final in talk.finals] == ["00_00000000", "00_00000001", "00_00000002"]
    live = client.server.sessions[talk.id]
    assert (live.audio_bytes, live.connections, live.status) == (len(pcm), 3, "done")
    assert talk.types.count("start_recording") == 1


async def test_a_whole_backlog_at_once_is_no_problem(meet: Meet) -> None:
    client = await meet()
    said = ["alpha", "bravo", "charlie"] * 200
    pcm, _ = speak(said, tail_s=0.2)
    assert len(pcm) > 4 << 20
    talk = await client.talk(pcm, chunk=512 << 10)
    assert talk.words == said


async def test_a_second_connection_takes_over(meet: Meet) -> None:
    """The first gets a code that clients do not retry, so that the two cannot fight."""
    client = await meet()
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as first:
        await first.send_bytes(bytes(320))
        await read_until(first, "audio_chunk")
        async with client.http.ws_connect(made["url"]) as second:
            async with asyncio.timeout(60):
                async for _ in first:
                    pass
            assert first.close_code == 4409
            await second.send_bytes(bytes(320))
            assert (await read_until(second, "audio_chunk"))["data"]["byte_range"] == [320, 640]
            assert client.server.sessions[made["id"]].connected
    await until(lambda: not client.server.sessions[made["id"]].connected)


async def test_unknown_tokens_and_ended_sessions_are_refused_on_the_upgrade(meet: Meet) -> None:
    client = await meet()
    talk = await client.talk(b"")
    for url, status in ((talk.url, 403), (talk.url[:-1], 404)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.http.ws_connect(url)
        assert caught.value.status == status


async def test_a_client_that_closes_with_1000_has_stopped(meet: Meet) -> None:
    """Everything it sent still counts; the result is in the record."""
    client = await meet()
    pcm, _ = speak("alpha bravo", tail_s=0.2)
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_bytes(pcm)
    async with asyncio.timeout(60):
        await client.server.sessions[made["id"]].ended()
    record = await client.get(f"/v2/live/{made['id']}")
    assert record["result"]["transcription"]["full_transcript"] == "alpha bravo"


async def test_a_client_that_vanishes_leaves_the_session_open(meet: Meet) -> None:
    client = await meet()
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_bytes(bytes(320))
        await read_until(socket, "audio_chunk")
        await socket.close(code=1001)
    live = client.server.sessions[made["id"]]
    await until(lambda: not live.connected)
    assert live.open


async def test_messages_made_while_nobody_listened_are_delivered_later(meet: Meet) -> None:
    """The cut comes behind the ack of the audio that completes the utterance."""
    pcm, _ = speak("alpha", tail_s=0.1)
    client = await meet(faults={"cuts": [{"at_byte": len(pcm), "ack": "after"}]})
    talk = await client.talk(pcm)
    assert talk.closes == [None, 1000]
    assert talk.words == ["alpha"]


async def test_channels_are_heard_separately(meet: Meet) -> None:
    client = await meet()
    left, _ = speak("alpha bravo", tail_s=0.3)
    right, _ = speak("charlie delta", lead_s=0.1, tail_s=0.2)
    stereo = np.stack([np.frombuffer(x, "<i2") for x in (left, right)], axis=1).tobytes()
    talk = await client.talk(stereo, chunk=6400, channels=2)
    assert {f["id"]: f["utterance"]["text"] for f in talk.finals} == {
        "00_00000000": " alpha bravo",
        "01_00000000": " charlie delta",
    }
    assert {m["data"]["channel"] for m in talk.of("speech_start")} == {0, 1}
    metadata = talk.of("post_final_transcript")[0]["data"]["metadata"]
    assert metadata["billing_time"] == pytest.approx(2 * metadata["audio_duration"], abs=0.001)


@pytest.mark.parametrize("rate", [8000, 32_000, 44_100, 48_000])
async def test_words_are_heard_at_every_sample_rate(meet: Meet, rate: int) -> None:
    client = await meet()
    pcm, places = speak("alpha bravo charlie", tail_s=0.3)
    other = soxr.resample(np.frombuffer(pcm, "<i2"), 16_000, rate).tobytes()
    talk = await client.talk(other, sample_rate=rate)
    assert talk.words == ["alpha", "bravo", "charlie"]
    assert abs(talk.finals[0]["utterance"]["start"] - places[0][1]) < 0.05


async def test_a_server_that_closes_tells_its_clients_to_come_back(
    http: aiohttp.ClientSession,
) -> None:
    from stt.local.server import LocalOptions, LocalServer

    async with LocalServer(LocalOptions(engine="scripted")) as server:
        made = await Client(server, http).create()
        socket = await http.ws_connect(made["url"])
        await read_until(socket, "start_recording")
        listening = asyncio.create_task(socket.receive())
    async with asyncio.timeout(60):
        await listening
    assert socket.close_code == 1012
    assert {task for task in asyncio.all_tasks() if task is not asyncio.current_task()} == set()
